#include "call.h"

static bool is_work(enum has_kind kind)
{
    return kind <= HAS_GRAPH;
}

static void go_in(struct has_call *call)
{
    call->stream = has_sm_enter(call->lane, call->stream);
    call->inside = true;
}

static void note_where(const struct has_graph_turn *turn, struct has_lane *lane)
{
    int elsewhere = has_graph_elsewhere(turn, atomic_load(&lane->partition));
    if (elsewhere != HAS_NOWHERE)
        has_meter_elsewhere(lane, elsewhere);
}

static void pass_gate(struct has_call *call, uint16_t key, struct has_graph_turn *turn)
{
    uint32_t expected = has_estimate_of(key);
    uint32_t meant = turn ? turn->sms : has_sm_of(call->lane);
    struct has_pass pass = has_gate(call->view, call->lane, expected, meant);
    /* After the gate, since a wait may have seen a new partition. */
    go_in(call);
    if (turn)
        has_graph_enter(turn, call->lane);
    has_meter_before(call->lane, key, expected, pass, turn ? turn->sms : has_sm_of(call->lane));
    if (turn)
        note_where(turn, call->lane);
}

static struct has_call enter(enum has_kind kind, uint16_t key, struct has_graph_turn *turn,
                             CUstream stream, bool per_thread)
{
    struct has_call call = {stream, NULL, has_limits_now(), is_work(kind), false, kind};
    if (!call.view)
        return call;
    call.lane = has_lane_of(stream, per_thread);
    if (!call.lane) {
        if (call.work)
            HAS_COUNT(ungated_launches, 1);
        call.work = false;
        return call;
    }
    if (__builtin_expect(has_capture_any(), 0) &&
        has_capture_on(has_sm_stream(call.lane), per_thread)) {
        call.work = false;
        call.stream = has_sm_stay(call.lane, stream);
        call.inside = true;
        if (turn)
            has_graph_captured_graph(turn);
        else
            has_graph_captured(has_sm_of(call.lane));
        return call;
    }
    if (call.work) {
        pass_gate(&call, key, turn);
        return call;
    }
    if (kind == HAS_SYNC)
        has_meter_after(call.lane, call.view, true);
    go_in(&call);
    return call;
}

struct has_call has_enter(enum has_kind kind, const void *identity, uint64_t blocks,
                          CUstream stream, bool per_thread)
{
    return enter(kind, has_estimate_key(identity, blocks), NULL, stream, per_thread);
}

struct has_call has_enter_graph(struct has_graph_turn *turn, CUstream stream, bool per_thread)
{
    return enter(HAS_GRAPH, has_estimate_key(turn->exec, turn->sms), turn, stream, per_thread);
}

bool has_widen(const struct has_call *call, CUstream *wide)
{
    return call->view && call->inside && has_sm_widest(call->lane, wide);
}

void has_widened(const struct has_call *call, CUstream wide)
{
    has_sm_order(wide, has_sm_stream(call->lane));
    if (call->work)
        has_meter_widen(call->lane, has_sm_most());
    else
        has_graph_captured(has_sm_most());
}

void has_leave(const struct has_call *call, CUresult result)
{
    if (!call->inside)
        return;
    if (call->work) {
        has_meter_after(call->lane, call->view, call->kind == HAS_GRAPH);
        if (result == CUDA_SUCCESS && (call->kind == HAS_LAUNCH || call->kind == HAS_GRAPH))
            HAS_COUNT(launches, 1);
        if (result == CUDA_SUCCESS && call->kind == HAS_GRAPH)
            HAS_COUNT(graph_launches, 1);
    }
    has_sm_leave(call->lane);
}
