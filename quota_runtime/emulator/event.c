/* Events: a number in the shared file that the engine fills in when the stream gets there. */
#include <stdlib.h>

#include "capture.h"
#include "entries.h"
#include "objects.h"

#define EVENT_FLAGS (CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING | CU_EVENT_INTERPROCESS)

static CUresult check(CUevent event)
{
    CUresult result = driver_state();
    if (result != CUDA_SUCCESS)
        return result;
    return event && event->kind == KIND_EVENT ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static const struct emu_event *shared_of(CUevent event)
{
    return &event->context->gpu->shared->events[event->index];
}

static bool is_done(CUevent event)
{
    return __atomic_load_n(&shared_of(event)->done, __ATOMIC_ACQUIRE) >= event->records;
}

CUresult cuEventCreate(CUevent *made, unsigned flags)
{
    CUcontext context;
    CUresult result = context_required(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!made || (flags & ~(unsigned)EVENT_FLAGS))
        return CUDA_ERROR_INVALID_VALUE;
    CUevent event = calloc(1, sizeof *event);
    machine_lock(context->gpu);
    int index = event ? engine_take_event(context->gpu->shared, context->gpu->process) : -1;
    machine_unlock(context->gpu);
    if (index < 0) {
        free(event);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *event = (struct CUevent_st){
        .kind = KIND_EVENT, .index = (uint32_t)index, .context = context, .flags = flags};
    *made = event;
    return CUDA_SUCCESS;
}

CUresult cuEventDestroy_v2(CUevent event)
{
    CUresult result = check(event);
    if (result != CUDA_SUCCESS)
        return result;
    struct gpu *gpu = event->context->gpu;
    machine_lock(gpu);
    engine_close_event(gpu->shared, event->index, event->records);
    machine_unlock(gpu);
    event->kind = 0;
    free(event);
    return CUDA_SUCCESS;
}

CUresult cuEventRecord(CUevent event, CUstream handle)
{
    CUstream stream;
    CUresult result = check(event);
    if (result == CUDA_SUCCESS)
        result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (stream->context->gpu != event->context->gpu)
        return CUDA_ERROR_INVALID_HANDLE;
    if (stream->capture) {
        event->capture = stream->capture;
        event->captured = stream->captured;
        return CUDA_SUCCESS;
    }
    event->capture = NULL;
    uint64_t record = event->records + 1;
    event->queue = stream->queue;
    event->target = stream_submit(
        stream, (struct emu_op){.kind = OP_EVENT, .index = event->index, .target = record});
    event->records = record;
    return CUDA_SUCCESS;
}

CUresult cuEventRecordWithFlags(CUevent event, CUstream stream, unsigned flags)
{
    return flags > 1 ? CUDA_ERROR_INVALID_VALUE : cuEventRecord(event, stream);
}

CUresult cuEventQuery(CUevent event)
{
    CUresult result = check(event);
    if (result != CUDA_SUCCESS)
        return result;
    if (event->capture)
        return CUDA_ERROR_CAPTURED_EVENT;
    fault_slow(SLOW_QUERY);
    if (is_done(event))
        return CUDA_SUCCESS;
    machine_lock(event->context->gpu);
    machine_refresh(event->context->gpu);
    machine_unlock(event->context->gpu);
    return is_done(event) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

CUresult cuEventSynchronize(CUevent event)
{
    CUresult result = check(event);
    if (result != CUDA_SUCCESS)
        return result;
    if (event->capture)
        return CUDA_ERROR_CAPTURED_EVENT;
    if (!is_done(event))
        machine_wait(event->context->gpu, event->queue, event->target);
    return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent start, CUevent end)
{
    CUresult result = cuEventQuery(start);
    if (result == CUDA_SUCCESS)
        result = cuEventQuery(end);
    if (result != CUDA_SUCCESS)
        return result;
    if (!milliseconds)
        return CUDA_ERROR_INVALID_VALUE;
    if (start->records == 0 || end->records == 0 ||
        ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
        return CUDA_ERROR_INVALID_HANDLE;
    *milliseconds = (float)((double)(shared_of(end)->at_ns - shared_of(start)->at_ns) / 1e6);
    return CUDA_SUCCESS;
}

CUresult cuEventElapsedTime_v2(float *milliseconds, CUevent start, CUevent end)
{
    return cuEventElapsedTime(milliseconds, start, end);
}

CUresult cuStreamWaitEvent(CUstream handle, CUevent event, unsigned flags)
{
    CUstream stream;
    CUresult result = flags > 1 ? CUDA_ERROR_INVALID_VALUE : check(event);
    if (result == CUDA_SUCCESS)
        result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (event->capture)
        return capture_join(stream, event->capture, event->captured);
    if (stream->capture)
        return capture_isolation(stream->capture);
    if (is_done(event))
        return CUDA_SUCCESS;
    if (stream->context->gpu != event->context->gpu)
        return cuEventSynchronize(event); /* the GPUs' files know nothing of each other */
    stream_submit(stream, (struct emu_op){
                              .kind = OP_WAIT, .index = event->queue, .target = event->target});
    return CUDA_SUCCESS;
}

CUresult cuGreenCtxRecordEvent(CUgreenCtx green, CUevent event)
{
    if (!green || green->kind != KIND_GREEN)
        return CUDA_ERROR_INVALID_CONTEXT;
    CUresult result = check(event);
    for (CUstream s = green->context.streams; s && result == CUDA_SUCCESS; s = s->next)
        result = cuEventRecord(event, s); /* exact for one stream, else the last one counts */
    return result;
}

CUresult cuGreenCtxWaitEvent(CUgreenCtx green, CUevent event)
{
    if (!green || green->kind != KIND_GREEN)
        return CUDA_ERROR_INVALID_CONTEXT;
    CUresult result = check(event);
    for (CUstream s = green->context.streams; s && result == CUDA_SUCCESS; s = s->next)
        result = cuStreamWaitEvent(s, event, 0);
    return result;
}
