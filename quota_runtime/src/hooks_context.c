/* Contexts and streams as a whole. */
#include "call.h"
#include "exports.h"
#include "graph.h"
#include "memory.h"
#include "start.h"

HAS_EXPORT CUresult cuStreamDestroy_v2(CUstream stream)
{
    if (!has_ready() || !has_real.cuStreamDestroy_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (has_limits_now() && stream > CU_STREAM_PER_THREAD)
        has_sm_forget(stream);
    return has_real.cuStreamDestroy_v2(stream);
}

HAS_EXPORT CUresult cuCtxSynchronize(void)
{
    if (!has_ready() || !has_real.cuCtxSynchronize)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuCtxSynchronize();
    if (has_limits_now() && result == CUDA_SUCCESS)
        result = has_sm_wait_all();
    return result;
}

/* Another context's streams are not among ours, so waiting for ours as well does no harm. */
HAS_EXPORT CUresult cuCtxSynchronize_v2(CUcontext context)
{
    if (!has_ready() || !has_real.cuCtxSynchronize_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuCtxSynchronize_v2(context);
    if (has_limits_now() && result == CUDA_SUCCESS)
        result = has_sm_wait_all();
    return result;
}

HAS_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
    if (!has_ready() || !has_real.cuDevicePrimaryCtxRetain)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuDevicePrimaryCtxRetain(context, device);
    if (result == CUDA_SUCCESS && context)
        has_start_with(*context, device);
    return result;
}

#define CREATE(name, parameters, arguments)                            \
    HAS_EXPORT CUresult name parameters                                \
    {                                                                  \
        if (!has_ready() || !has_real.name)                            \
            return CUDA_ERROR_NOT_INITIALIZED;                         \
        has_sm_give_up();                                              \
        return has_real.name arguments;                                \
    }

/* Green contexts share the primary context's memory and modules, not those of another one. */
CREATE(cuCtxCreate_v2, (CUcontext *context, unsigned flags, CUdevice device),
       (context, flags, device))
CREATE(cuCtxCreate_v3,
       (CUcontext *context, void *affinity, int count, unsigned flags, CUdevice device),
       (context, affinity, count, flags, device))
CREATE(cuCtxCreate_v4, (CUcontext *context, void *parameters, unsigned flags, CUdevice device),
       (context, parameters, flags, device))

HAS_EXPORT CUresult cuDevicePrimaryCtxReset_v2(CUdevice device)
{
    if (!has_ready() || !has_real.cuDevicePrimaryCtxReset_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuDevicePrimaryCtxReset_v2(device);
    if (result == CUDA_SUCCESS) {
        has_memory_lost();
        has_graph_lost();
    }
    return result;
}
