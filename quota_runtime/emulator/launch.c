/* Kernel launches. */
#include "capture.h"
#include "entries.h"
#include "launch.h"

#define MAX_THREADS 1024u

static bool shape_is_possible(const CUDA_KERNEL_NODE_PARAMS *p)
{
    return p->gridDimX && p->gridDimY && p->gridDimZ && p->blockDimX && p->blockDimY &&
           p->blockDimZ && (uint64_t)p->blockDimX * p->blockDimY * p->blockDimZ <= MAX_THREADS;
}

/* All blocks of a cooperative launch must be on the SMs at once. */
static bool fits_at_once(const CUDA_KERNEL_NODE_PARAMS *p, const struct sm_set *sms)
{
    int per_sm = 0;
    int threads = (int)(p->blockDimX * p->blockDimY * p->blockDimZ);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, p->func, threads, p->sharedMemBytes);
    uint64_t blocks = (uint64_t)p->gridDimX * p->gridDimY * p->gridDimZ;
    return blocks <= (uint64_t)per_sm * (uint64_t)sm_set_size(sms);
}

CUfunction kernel_of(const CUDA_KERNEL_NODE_PARAMS *parameters)
{
    return parameters->func ? parameters->func : (CUfunction)parameters->kern;
}

CUresult kernel_check(const CUDA_KERNEL_NODE_PARAMS *parameters)
{
    if (!kernel_of(parameters))
        return CUDA_ERROR_INVALID_HANDLE;
    return shape_is_possible(parameters) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

struct emu_op kernel_op(const CUDA_KERNEL_NODE_PARAMS *parameters, const struct sm_set *sms)
{
    const struct CUfunc_st *function = kernel_of(parameters);
    return engine_kernel(sms, function->work_sm_ns, function->floor_ns, function->max_sm);
}

static CUresult launch(CUDA_KERNEL_NODE_PARAMS *parameters, CUstream handle, bool cooperative)
{
    CUcontext context;
    CUstream stream;
    CUresult result = context_required(&context);
    if (result == CUDA_SUCCESS)
        result = kernel_check(parameters);
    if (result == CUDA_SUCCESS)
        result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (cooperative && !fits_at_once(parameters, &stream->context->sms))
        return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    if (fault_due(FAULT_LAUNCH))
        return CUDA_ERROR_LAUNCH_FAILED;
    if (stream->capture)
        return capture_kernel(stream, parameters, cooperative);
    stream_submit(stream, kernel_op(parameters, &stream->context->sms));
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                        unsigned by, unsigned bz, unsigned shared_bytes, CUstream stream,
                        void **parameters, void **extra)
{
    CUDA_KERNEL_NODE_PARAMS all = {function, gx,         gy,    gz,   bx,  by, bz,
                                   shared_bytes, parameters, extra, NULL, NULL};
    return launch(&all, stream, false);
}

CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned gx, unsigned gy, unsigned gz,
                                   unsigned bx, unsigned by, unsigned bz, unsigned shared_bytes,
                                   CUstream stream, void **parameters)
{
    CUDA_KERNEL_NODE_PARAMS all = {function, gx,         gy,   gz,   bx,  by, bz,
                                   shared_bytes, parameters, NULL, NULL, NULL};
    return launch(&all, stream, true);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters,
                          void **extra)
{
    if (!config || (config->numAttrs && !config->attrs))
        return CUDA_ERROR_INVALID_VALUE;
    bool cooperative = false;
    for (unsigned i = 0; i < config->numAttrs; i++)
        cooperative |= config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE &&
                       config->attrs[i].value.cooperative;
    CUDA_KERNEL_NODE_PARAMS all = {
        .func = function,
        .gridDimX = config->gridDimX,
        .gridDimY = config->gridDimY,
        .gridDimZ = config->gridDimZ,
        .blockDimX = config->blockDimX,
        .blockDimY = config->blockDimY,
        .blockDimZ = config->blockDimZ,
        .sharedMemBytes = config->sharedMemBytes,
        .kernelParams = parameters,
        .extra = extra,
    };
    return launch(&all, config->hStream, cooperative);
}
