/* Streams: one queue of the GPU each, and the ordering of the NULL stream. */
#include <stdlib.h>

#include "capture.h"
#include "entries.h"
#include "objects.h"

_Thread_local bool sync_calls_per_thread;

static pthread_key_t at_thread_end;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static _Thread_local CUstream per_thread[MACHINE_MAX_GPUS]; /* of the primary contexts */

static void end_per_thread_streams(void *streams)
{
    CUstream *of_gpu = streams;
    for (int i = 0; i < MACHINE_MAX_GPUS; i++)
        if (of_gpu[i] && context_is_live(of_gpu[i]->context)) {
            stream_end(of_gpu[i]);
            free(of_gpu[i]);
        }
}

static void make_key(void)
{
    pthread_key_create(&at_thread_end, end_per_thread_streams);
}

CUresult stream_create(CUcontext context, unsigned flags, int priority, CUstream *made)
{
    struct gpu *gpu = context->gpu;
    CUstream stream = fault_due(FAULT_STREAM) ? NULL : calloc(1, sizeof *stream);
    machine_lock(gpu);
    int queue = stream ? engine_take_queue(gpu->shared, gpu->process) : -1;
    machine_unlock(gpu);
    if (queue < 0) {
        free(stream);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *stream = (struct CUstream_st){
        .kind = KIND_STREAM,
        .queue = (uint32_t)queue,
        .context = context,
        .flags = flags,
        .priority = priority > 0 ? 0 : (priority < -5 ? -5 : priority),
        .id = objects_next_id(),
    };
    *made = stream;
    return CUDA_SUCCESS;
}

static void link_stream(CUstream stream)
{
    objects_lock();
    stream->next = stream->context->streams;
    stream->context->streams = stream;
    objects_unlock();
}

/* Work that is queued still runs, as in the driver. */
void stream_end(CUstream stream)
{
    struct gpu *gpu = stream->context->gpu;
    objects_lock();
    for (CUstream *at = &stream->context->streams; *at; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    if (stream->context->legacy == stream)
        stream->context->legacy = NULL;
    objects_unlock();
    machine_lock(gpu);
    engine_close_queue(gpu->shared, stream->queue);
    machine_unlock(gpu);
}

static CUresult legacy_stream(CUcontext context, CUstream *stream)
{
    CUresult result = CUDA_SUCCESS;
    if (__atomic_load_n(&context->legacy, __ATOMIC_ACQUIRE) == NULL) {
        objects_lock();
        CUstream made = NULL;
        if (!context->legacy)
            result = stream_create(context, CU_STREAM_DEFAULT, 0, &made);
        if (made)
            __atomic_store_n(&context->legacy, made, __ATOMIC_RELEASE);
        objects_unlock();
    }
    *stream = context->legacy;
    return result;
}

static CUresult per_thread_stream(CUcontext context, CUstream *stream)
{
    CUstream *mine = &per_thread[context->gpu->ordinal];
    if (context->green)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!*mine || !context_is_live((*mine)->context) || (*mine)->context != context) {
        CUresult result = stream_create(context, CU_STREAM_DEFAULT, 0, mine);
        if (result != CUDA_SUCCESS)
            return result;
        link_stream(*mine);
        pthread_once(&key_once, make_key);
        pthread_setspecific(at_thread_end, per_thread);
    }
    *stream = *mine;
    return CUDA_SUCCESS;
}

CUresult stream_resolve(CUstream handle, CUstream *stream)
{
    CUcontext context;
    if (handle > CU_STREAM_PER_THREAD) {
        *stream = handle;
        CUresult result = driver_state();
        if (result == CUDA_SUCCESS && handle->kind != KIND_STREAM)
            return CUDA_ERROR_INVALID_HANDLE;
        if (result == CUDA_SUCCESS && !context_is_live(handle->context))
            return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        return result;
    }
    CUresult result = context_required(&context);
    if (result != CUDA_SUCCESS)
        return result;
    return handle == CU_STREAM_PER_THREAD ? per_thread_stream(context, stream)
                                          : legacy_stream(context, stream);
}

CUstream sync_stream(void)
{
    return sync_calls_per_thread ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY;
}

static struct emu_op wait_for(uint32_t queue, uint64_t target)
{
    return (struct emu_op){.kind = OP_WAIT, .index = queue, .target = target};
}

/* The NULL stream starts after everything submitted to blocking streams. */
static void order_legacy(CUstream legacy)
{
    struct gpu *gpu = legacy->context->gpu;
    for (CUstream s = legacy->context->streams; s; s = s->next) {
        const struct emu_queue *q = &gpu->shared->queues[s->queue];
        if (!(s->flags & CU_STREAM_NON_BLOCKING) && q->head != q->tail)
            machine_push(gpu, legacy->queue, wait_for(s->queue, q->tail));
    }
}

/* A blocking stream goes on after everything submitted to the NULL stream. */
static void order_blocking(CUstream stream, CUstream legacy)
{
    struct gpu *gpu = stream->context->gpu;
    const struct emu_queue *q = &gpu->shared->queues[legacy->queue];
    if (q->head == q->tail || stream->ordered_after == q->tail)
        return;
    stream->ordered_after = q->tail;
    machine_push(gpu, stream->queue, wait_for(legacy->queue, q->tail));
}

uint64_t stream_submit(CUstream stream, struct emu_op op)
{
    struct gpu *gpu = stream->context->gpu;
    CUstream legacy = __atomic_load_n(&stream->context->legacy, __ATOMIC_ACQUIRE);
    bool is_legacy = legacy == stream;
    if (is_legacy)
        objects_lock(); /* the list of streams is looked at */
    machine_lock(gpu);
    if (is_legacy)
        order_legacy(stream);
    else if (legacy && !(stream->flags & CU_STREAM_NON_BLOCKING))
        order_blocking(stream, legacy);
    machine_push(gpu, stream->queue, op);
    uint64_t target = gpu->shared->queues[stream->queue].tail;
    machine_unlock(gpu);
    if (is_legacy)
        objects_unlock();
    return target;
}

void stream_wait(CUstream stream)
{
    struct gpu *gpu = stream->context->gpu;
    if (stream == stream->context->legacy) {
        objects_lock();
        machine_lock(gpu);
        order_legacy(stream); /* waiting for the NULL stream waits for the blocking ones */
        machine_unlock(gpu);
        objects_unlock();
    }
    uint64_t target =
        __atomic_load_n(&gpu->shared->queues[stream->queue].tail, __ATOMIC_ACQUIRE);
    machine_wait(gpu, stream->queue, target);
}

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned flags, int priority)
{
    CUcontext context;
    CUresult result = context_required(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!stream || flags > CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    if (context->green && !(flags & CU_STREAM_NON_BLOCKING))
        return CUDA_ERROR_INVALID_VALUE;
    result = stream_create(context, flags, priority, stream);
    if (result == CUDA_SUCCESS)
        link_stream(*stream);
    return result;
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    return cuStreamCreateWithPriority(stream, flags, 0);
}

CUresult cuGreenCtxStreamCreate(CUstream *stream, CUgreenCtx green, unsigned flags, int priority)
{
    if (!stream || !green || flags != CU_STREAM_NON_BLOCKING)
        return CUDA_ERROR_INVALID_VALUE;
    if (green->kind != KIND_GREEN)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    fault_slow(SLOW_GREEN_STREAM);
    CUresult result = stream_create(&green->context, flags, priority, stream);
    if (result == CUDA_SUCCESS)
        link_stream(*stream);
    return result;
}

CUresult cuStreamDestroy_v2(CUstream stream)
{
    if (stream <= CU_STREAM_PER_THREAD || stream->kind != KIND_STREAM)
        return CUDA_ERROR_INVALID_HANDLE;
    if (!context_is_live(stream->context))
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    stream_end(stream);
    stream->kind = 0;
    free(stream);
    return CUDA_SUCCESS;
}

CUresult cuStreamSynchronize(CUstream handle)
{
    CUstream stream;
    CUresult result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (stream->capture)
        return capture_spoil(stream->capture);
    stream_wait(stream);
    return CUDA_SUCCESS;
}

CUresult cuStreamQuery(CUstream handle)
{
    CUstream stream;
    CUresult result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (stream->capture)
        return capture_spoil(stream->capture);
    fault_slow(SLOW_QUERY);
    struct gpu *gpu = stream->context->gpu;
    const struct emu_queue *q = &gpu->shared->queues[stream->queue];
    machine_lock(gpu);
    machine_refresh(gpu);
    bool idle = q->head == q->tail;
    machine_unlock(gpu);
    return idle ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
