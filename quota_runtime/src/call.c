#include "call.h"

static bool is_work(enum has_kind kind)
{
    return kind <= HAS_GRAPH;
}

static void pass_gate(struct has_call *call, uint16_t key)
{
    uint32_t expected = has_estimate_of(key);
    uint64_t taken = has_gate(call->view, call->lane, expected);
    call->view = has_limits_now();
    if (!call->view || !call->lane)
        return;
    /* After the gate, since a wait may have seen a new partition. */
    call->stream = has_sm_place(call->lane, call->stream, call->view);
    has_meter_before(call->lane, key, expected, taken);
}

struct has_call has_enter(enum has_kind kind, const void *identity, uint64_t blocks,
                          CUstream stream, bool per_thread)
{
    struct has_call call = {stream, NULL, has_limits_now(), is_work(kind), kind};
    if (!call.view)
        return call;
    call.lane = has_lane_of(stream, per_thread);
    if (!call.lane && call.work)
        HAS_COUNT(ungated_launches, 1);
    if (__builtin_expect(has_capture_any(), 0) && has_capture_on(stream, per_thread)) {
        call.work = false;
        call.stream = call.lane ? has_sm_stay(call.lane, stream) : stream;
        return call;
    }
    if (call.work) {
        pass_gate(&call, has_estimate_key(identity, blocks));
    } else if (call.lane) {
        if (kind == HAS_SYNC)
            has_meter_after(call.lane, call.view, true);
        call.stream = has_sm_place(call.lane, stream, call.view);
    }
    return call;
}

void has_leave(const struct has_call *call, CUresult result)
{
    if (!call->view || !call->work)
        return;
    if (call->lane)
        has_meter_after(call->lane, call->view, call->kind == HAS_GRAPH);
    if (result != CUDA_SUCCESS || (call->kind != HAS_LAUNCH && call->kind != HAS_GRAPH))
        return;
    HAS_COUNT(launches, 1);
    if (call->kind == HAS_GRAPH)
        HAS_COUNT(graph_launches, 1);
}
