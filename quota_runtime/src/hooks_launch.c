/* The launches. */
#include "call.h"
#include "exports.h"

/* Blocks that must run together do not fit the partition. */
static bool is_too_large(CUresult result)
{
    return result == CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE ||
           result == CUDA_ERROR_INVALID_CLUSTER_SIZE;
}

static uint64_t blocks_of(unsigned x, unsigned y, unsigned z)
{
    return (uint64_t)x * y * z;
}

#define KERNEL(name, per_thread)                                                              \
    HAS_EXPORT CUresult name(CUfunction function, unsigned gx, unsigned gy, unsigned gz,      \
                             unsigned bx, unsigned by, unsigned bz, unsigned shared,          \
                             CUstream stream, void **parameters, void **extra)                \
    {                                                                                         \
        if (!has_ready() || !has_real.name)                                                   \
            return CUDA_ERROR_NOT_INITIALIZED;                                                \
        struct has_call call =                                                                \
            has_enter(HAS_LAUNCH, function, blocks_of(gx, gy, gz), stream, per_thread);       \
        CUresult result = has_real.name(function, gx, gy, gz, bx, by, bz, shared, call.stream, \
                                        parameters, extra);                                   \
        has_leave(&call, result);                                                             \
        return result;                                                                        \
    }

KERNEL(cuLaunchKernel, false)
KERNEL(cuLaunchKernel_ptsz, true)

#define KERNEL_EX(name, per_thread)                                                          \
    HAS_EXPORT CUresult name(const CUlaunchConfig *config, CUfunction function,              \
                             void **parameters, void **extra)                                \
    {                                                                                        \
        if (!has_ready() || !has_real.name)                                                  \
            return CUDA_ERROR_NOT_INITIALIZED;                                               \
        if (!config)                                                                         \
            return has_real.name(config, function, parameters, extra);                       \
        struct has_call call =                                                               \
            has_enter(HAS_LAUNCH, function,                                                  \
                      blocks_of(config->gridDimX, config->gridDimY, config->gridDimZ),       \
                      config->hStream, per_thread);                                          \
        CUlaunchConfig placed = *config;                                                     \
        placed.hStream = call.stream;                                                        \
        CUresult result = has_real.name(&placed, function, parameters, extra);               \
        if (__builtin_expect(is_too_large(result), 0) &&                                     \
            has_widen(&call, &placed.hStream)) {                                             \
            result = has_real.name(&placed, function, parameters, extra);                    \
            has_widened(&call, placed.hStream);                                              \
        }                                                                                    \
        has_leave(&call, result);                                                            \
        return result;                                                                       \
    }

KERNEL_EX(cuLaunchKernelEx, false)
KERNEL_EX(cuLaunchKernelEx_ptsz, true)

#define COOPERATIVE(name, per_thread)                                                         \
    HAS_EXPORT CUresult name(CUfunction function, unsigned gx, unsigned gy, unsigned gz,      \
                             unsigned bx, unsigned by, unsigned bz, unsigned shared,          \
                             CUstream stream, void **parameters)                              \
    {                                                                                         \
        if (!has_ready() || !has_real.name)                                                   \
            return CUDA_ERROR_NOT_INITIALIZED;                                                \
        struct has_call call =                                                                \
            has_enter(HAS_LAUNCH, function, blocks_of(gx, gy, gz), stream, per_thread);       \
        CUstream placed = call.stream;                                                        \
        CUresult result = has_real.name(function, gx, gy, gz, bx, by, bz, shared, placed,     \
                                        parameters);                                          \
        if (__builtin_expect(is_too_large(result), 0) && has_widen(&call, &placed)) {         \
            result = has_real.name(function, gx, gy, gz, bx, by, bz, shared, placed,          \
                                   parameters);                                               \
            has_widened(&call, placed);                                                       \
        }                                                                                     \
        has_leave(&call, result);                                                             \
        return result;                                                                        \
    }

COOPERATIVE(cuLaunchCooperativeKernel, false)
COOPERATIVE(cuLaunchCooperativeKernel_ptsz, true)

/* Several devices at once: a pod has one, and CUDA 13 removed it. Seen, not gated. */
HAS_EXPORT CUresult cuLaunchCooperativeKernelMultiDevice(CUDA_LAUNCH_PARAMS *list, unsigned count,
                                                         unsigned flags)
{
    if (!has_ready() || !has_real.cuLaunchCooperativeKernelMultiDevice)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (has_limits_now())
        HAS_COUNT(ungated_launches, count);
    return has_real.cuLaunchCooperativeKernelMultiDevice(list, count, flags);
}

/* The launches of CUDA 3 always run on the legacy default stream. */
HAS_EXPORT CUresult cuLaunch(CUfunction function)
{
    if (!has_ready() || !has_real.cuLaunch)
        return CUDA_ERROR_NOT_INITIALIZED;
    struct has_call call = has_enter(HAS_LAUNCH, function, 1, NULL, false);
    has_sm_before_default(call.lane);
    CUresult result = has_real.cuLaunch(function);
    has_sm_after_default(call.lane);
    has_leave(&call, result);
    return result;
}

HAS_EXPORT CUresult cuLaunchGrid(CUfunction function, int width, int height)
{
    if (!has_ready() || !has_real.cuLaunchGrid)
        return CUDA_ERROR_NOT_INITIALIZED;
    struct has_call call =
        has_enter(HAS_LAUNCH, function, blocks_of((unsigned)width, (unsigned)height, 1), NULL, false);
    has_sm_before_default(call.lane);
    CUresult result = has_real.cuLaunchGrid(function, width, height);
    has_sm_after_default(call.lane);
    has_leave(&call, result);
    return result;
}

HAS_EXPORT CUresult cuLaunchGridAsync(CUfunction function, int width, int height, CUstream stream)
{
    if (!has_ready() || !has_real.cuLaunchGridAsync)
        return CUDA_ERROR_NOT_INITIALIZED;
    struct has_call call = has_enter(
        HAS_LAUNCH, function, blocks_of((unsigned)width, (unsigned)height, 1), stream, false);
    CUresult result = has_real.cuLaunchGridAsync(function, width, height, call.stream);
    has_leave(&call, result);
    return result;
}
