/* Contexts and each thread's stack of them. */
#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "objects.h"

#define STACK_DEPTH 64
#define API_VERSION 3020 /* what cuCtxGetApiVersion has always said */

static pthread_mutex_t lists = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_id;
static CUcontext primary[MACHINE_MAX_GPUS];
static _Thread_local CUcontext stack[STACK_DEPTH];
static _Thread_local int depth;

void objects_lock(void)
{
    pthread_mutex_lock(&lists);
}

void objects_unlock(void)
{
    pthread_mutex_unlock(&lists);
}

uint64_t objects_next_id(void)
{
    return __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
}

CUcontext context_current(void)
{
    return depth > 0 ? stack[depth - 1] : NULL;
}

bool context_is_live(CUcontext context)
{
    return context && context->kind == KIND_CONTEXT;
}

CUresult context_required(CUcontext *context)
{
    CUresult result = driver_state();
    if (result != CUDA_SUCCESS)
        return result;
    *context = context_current();
    if (!*context)
        return CUDA_ERROR_INVALID_CONTEXT;
    return context_is_live(*context) ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

void context_init(CUcontext context, struct gpu *gpu, unsigned flags)
{
    *context = (struct CUctx_st){
        .kind = KIND_CONTEXT,
        .flags = flags,
        .gpu = gpu,
        .sms = sm_set_range(0, gpu->shared->sm_count),
        .id = objects_next_id(),
    };
}

/* Streams die with their context. The objects stay, so that a late use is told from a good one:
 * stacks of other threads, events and stream handles still point here, and programs make few. */
void context_end(CUcontext context)
{
    while (context->streams)
        stream_end(context->streams);
    if (context->legacy)
        stream_end(context->legacy);
    context->kind = 0;
}

static CUresult new_context(CUdevice device, unsigned flags, CUcontext *made)
{
    struct gpu *gpu;
    CUresult result = device_gpu(device, &gpu);
    if (result != CUDA_SUCCESS)
        return result;
    *made = machine_attach(gpu) ? malloc(sizeof **made) : NULL;
    if (!*made)
        return CUDA_ERROR_OUT_OF_MEMORY;
    context_init(*made, gpu, flags);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    struct gpu *gpu;
    CUresult result = context ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    objects_lock();
    if (!primary[device])
        result = new_context(device, 0, &primary[device]);
    else if (!context_is_live(primary[device]))
        context_init(primary[device], gpu, 0);
    if (result == CUDA_SUCCESS) {
        primary[device]->retained++;
        *context = primary[device];
    }
    objects_unlock();
    return result;
}

static CUresult release(CUdevice device, bool all)
{
    struct gpu *gpu;
    CUresult result = device_gpu(device, &gpu);
    if (result != CUDA_SUCCESS)
        return result;
    CUcontext context = primary[device];
    if (!context_is_live(context) || (context->retained == 0 && !all))
        return all ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
    objects_lock();
    context->retained = all ? 0 : context->retained - 1;
    bool last = context->retained == 0;
    objects_unlock();
    if (last)
        context_end(context);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
    return release(device, false);
}

CUresult cuDevicePrimaryCtxReset_v2(CUdevice device)
{
    return release(device, true);
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, unsigned flags)
{
    struct gpu *gpu;
    CUresult result = device_gpu(device, &gpu);
    if (result == CUDA_SUCCESS && context_is_live(primary[device]))
        primary[device]->flags = flags;
    return result;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active)
{
    struct gpu *gpu;
    CUresult result = device_gpu(device, &gpu);
    if (result != CUDA_SUCCESS || !flags || !active)
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    *active = context_is_live(primary[device]);
    *flags = *active ? primary[device]->flags : 0;
    return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext context)
{
    CUresult result = driver_state();
    if (result != CUDA_SUCCESS)
        return result;
    if (context && !context_is_live(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    if (!context)
        depth -= depth > 0;
    else
        stack[depth > 0 ? depth - 1 : depth++] = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context)
{
    if (!context)
        return CUDA_ERROR_INVALID_VALUE;
    *context = context_current();
    return driver_state();
}

CUresult cuCtxPushCurrent_v2(CUcontext context)
{
    if (!context_is_live(context) || depth == STACK_DEPTH)
        return CUDA_ERROR_INVALID_CONTEXT;
    stack[depth++] = context;
    return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
    if (depth == 0)
        return CUDA_ERROR_INVALID_CONTEXT;
    depth--;
    if (context)
        *context = stack[depth];
    return CUDA_SUCCESS;
}

CUresult cuCtxCreate_v2(CUcontext *context, unsigned flags, CUdevice device)
{
    if (!context)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = new_context(device, flags, context);
    return result == CUDA_SUCCESS ? cuCtxPushCurrent_v2(*context) : result;
}

CUresult cuCtxCreate_v4(CUcontext *context, void *parameters, unsigned flags, CUdevice device)
{
    return parameters ? CUDA_ERROR_NOT_SUPPORTED : cuCtxCreate_v2(context, flags, device);
}

CUresult cuCtxDestroy_v2(CUcontext context)
{
    if (!context_is_live(context) || context->green)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (context_current() == context)
        depth--;
    context_end(context);
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device)
{
    CUcontext context;
    CUresult result = device ? context_required(&context) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *device = context->gpu->ordinal;
    return result;
}

CUresult cuCtxGetFlags(unsigned *flags)
{
    CUcontext context;
    CUresult result = flags ? context_required(&context) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *flags = context->flags;
    return result;
}

CUresult cuCtxGetId(CUcontext context, unsigned long long *id)
{
    CUcontext found = context;
    CUresult result = context ? driver_state() : context_required(&found);
    if (result != CUDA_SUCCESS || !id)
        return result != CUDA_SUCCESS ? result : CUDA_ERROR_INVALID_VALUE;
    if (!context_is_live(found))
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    *id = found->id;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext context, unsigned *version)
{
    if (!version || (context && !context_is_live(context)))
        return context ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE;
    *version = API_VERSION;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest)
{
    if (least)
        *least = 0;
    if (greatest)
        *greatest = -5;
    return CUDA_SUCCESS;
}

static CUresult synchronize(CUcontext context)
{
    uint32_t queues[EMU_QUEUES];
    uint64_t targets[EMU_QUEUES];
    int count = 0;
    objects_lock();
    for (CUstream s = context->streams; s && count < EMU_QUEUES - 1; s = s->next)
        queues[count++] = s->queue;
    if (context->legacy)
        queues[count++] = context->legacy->queue;
    for (int i = 0; i < count; i++)
        targets[i] = __atomic_load_n(&context->gpu->shared->queues[queues[i]].tail,
                                     __ATOMIC_ACQUIRE);
    objects_unlock();
    for (int i = 0; i < count; i++)
        machine_wait(context->gpu, queues[i], targets[i]);
    return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize(void)
{
    CUcontext context;
    CUresult result = context_required(&context);
    return result == CUDA_SUCCESS ? synchronize(context) : result;
}

CUresult cuCtxSynchronize_v2(CUcontext context)
{
    return context_is_live(context) ? synchronize(context) : CUDA_ERROR_INVALID_CONTEXT;
}
