/* What can be asked of a stream, and the control of the virtual clock. */
#include "entries.h"
#include "objects.h"

CUresult cuStreamGetPriority(CUstream handle, int *priority)
{
    CUstream stream;
    CUresult result = priority ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *priority = stream->priority;
    return result;
}

CUresult cuStreamGetFlags(CUstream handle, unsigned *flags)
{
    CUstream stream;
    CUresult result = flags ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *flags = stream->flags;
    return result;
}

CUresult cuStreamGetId(CUstream handle, unsigned long long *id)
{
    CUstream stream;
    CUresult result = id ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *id = stream->id;
    return result;
}

CUresult cuStreamGetCtx(CUstream handle, CUcontext *context)
{
    CUstream stream;
    CUresult result = context ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *context = stream->context;
    return result;
}

/* A stream of a green context has no other context, and the other way round. */
CUresult cuStreamGetCtx_v2(CUstream handle, CUcontext *context, CUgreenCtx *green)
{
    CUstream stream;
    CUresult result = context && green ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    *green = stream->context->green;
    *context = *green ? NULL : stream->context;
    return CUDA_SUCCESS;
}

CUresult cuStreamGetGreenCtx(CUstream handle, CUgreenCtx *green)
{
    CUstream stream;
    CUresult result = green ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *green = stream->context->green;
    return result;
}

CUresult hasEmulatorAdvanceClock(CUdevice device, int64_t ns)
{
    struct gpu *gpu;
    CUresult result = device_gpu(device, &gpu);
    if (result != CUDA_SUCCESS)
        return result;
    return machine_advance_clock(gpu, ns) ? CUDA_SUCCESS : CUDA_ERROR_NOT_PERMITTED;
}

CUresult hasEmulatorGetClock(CUdevice device, int64_t *ns)
{
    struct gpu *gpu;
    CUresult result = ns ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *ns = machine_now(gpu);
    return result;
}
