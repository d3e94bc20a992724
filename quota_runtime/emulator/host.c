/* Host functions in stream order, run by one thread that sleeps when there is none. */
#include <stdlib.h>

#include "capture.h"
#include "entries.h"
#include "objects.h"

struct call {
    struct gpu *gpu;
    uint32_t queue;
    uint64_t before; /* operations of the queue that come first */
    CUhostFn function;
    void *data;
    struct call *next;
};

struct callback {
    CUstream stream;
    CUstreamCallback function;
    void *data;
};

struct value {
    uint32_t *at;
    uint32_t value;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct call *first, **last = &first;
static bool running;

/* In order of submission: a function can only wait for what was submitted before it. */
static void *run_calls(void *unused)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!first)
            pthread_cond_wait(&more, &lock);
        struct call *call = first;
        first = call->next;
        if (!first)
            last = &first;
        pthread_mutex_unlock(&lock);
        machine_wait(call->gpu, call->queue, call->before);
        call->function(call->data);
        machine_lock(call->gpu);
        machine_refresh(call->gpu);
        engine_host_done(call->gpu->shared, call->queue);
        machine_unlock(call->gpu);
        free(call);
    }
    return unused;
}

static bool start_thread(void)
{
    pthread_t thread;
    if (!running && pthread_create(&thread, NULL, run_calls, NULL) == 0) {
        pthread_detach(thread);
        running = true;
    }
    return running;
}

CUresult host_submit(CUstream stream, CUhostFn function, void *data)
{
    struct call *call = malloc(sizeof *call);
    if (!call)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    bool started = start_thread();
    if (started) {
        uint64_t target = stream_submit(stream, (struct emu_op){.kind = OP_HOST});
        *call = (struct call){.gpu = stream->context->gpu,
                              .queue = stream->queue,
                              .before = target - 1,
                              .function = function,
                              .data = data};
        *last = call;
        last = &call->next;
        pthread_cond_signal(&more);
    }
    pthread_mutex_unlock(&lock);
    if (!started)
        free(call);
    return started ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

CUresult cuLaunchHostFunc(CUstream handle, CUhostFn function, void *data)
{
    CUstream stream;
    CUresult result = function ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    return stream->capture ? capture_host(stream, function, data)
                           : host_submit(stream, function, data);
}

static void run_callback(void *data)
{
    struct callback *callback = data;
    callback->function(callback->stream, CUDA_SUCCESS, callback->data);
    free(callback);
}

CUresult cuStreamAddCallback(CUstream handle, CUstreamCallback function, void *data,
                             unsigned flags)
{
    CUstream stream;
    CUresult result =
        function && flags == 0 ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if (stream->capture)
        return capture_spoil(stream->capture);
    struct callback *callback = malloc(sizeof *callback);
    if (!callback)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *callback = (struct callback){handle, function, data};
    return host_submit(stream, run_callback, callback);
}

static void write_value(void *data)
{
    struct value *value = data;
    __atomic_store_n(value->at, value->value, __ATOMIC_RELEASE);
    free(value);
}

CUresult cuStreamWriteValue32_v2(CUstream handle, CUdeviceptr pointer, uint32_t number,
                                 unsigned flags)
{
    CUstream stream;
    CUresult result =
        pointer && flags <= 1 ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if (stream->capture)
        return capture_spoil(stream->capture);
    struct value *value = malloc(sizeof *value);
    if (!value)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *value = (struct value){(uint32_t *)(uintptr_t)pointer, number};
    return host_submit(stream, write_value, value);
}
