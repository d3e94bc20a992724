/* Every entry point of the emulated driver, once: declarations, the table of cuGetProcAddress and
 * the per-thread-default-stream variants all come from this list.
 *
 * PLAIN(base, symbol, since, parameters)
 * STREAM(base, symbol, per_thread_symbol, since, parameters, arguments): the variant passes
 *     PT(stream), so that stream 0 means the thread's own
 * SYNC(base, symbol, per_thread_symbol, since, parameters, arguments): no stream parameter; the
 *     call is ordered in the NULL stream, and the variant in the thread's own
 */
#ifndef EMU_ENTRIES_H
#define EMU_ENTRIES_H

#include "../include/has_cuda.h"
#include "entries_graph.h"
#include "entries_memory.h"

#define ENTRIES_CORE(PLAIN, STREAM)                                                                \
    PLAIN(cuInit, cuInit, 2000, (unsigned flags))                                                  \
    PLAIN(cuDriverGetVersion, cuDriverGetVersion, 2020, (int *version))                            \
    PLAIN(cuGetErrorName, cuGetErrorName, 6000, (CUresult error, const char **text))               \
    PLAIN(cuGetErrorString, cuGetErrorString, 6000, (CUresult error, const char **text))           \
    PLAIN(cuGetProcAddress, cuGetProcAddress, 11030,                                               \
          (const char *name, void **function, int version, uint64_t flags))                        \
    PLAIN(cuGetProcAddress, cuGetProcAddress_v2, 12000,                                            \
          (const char *name, void **function, int version, uint64_t flags,                         \
           CUdriverProcAddressQueryResult *status))                                                \
    PLAIN(cuGetExportTable, cuGetExportTable, 3000, (const void **table, const CUuuid *id))        \
    PLAIN(cuDeviceGetCount, cuDeviceGetCount, 2000, (int *count))                                  \
    PLAIN(cuDeviceGet, cuDeviceGet, 2000, (CUdevice * device, int ordinal))                        \
    PLAIN(cuDeviceGetName, cuDeviceGetName, 2000, (char *name, int length, CUdevice device))       \
    PLAIN(cuDeviceGetUuid, cuDeviceGetUuid, 9020, (CUuuid * uuid, CUdevice device))                \
    PLAIN(cuDeviceGetUuid, cuDeviceGetUuid_v2, 11040, (CUuuid * uuid, CUdevice device))            \
    PLAIN(cuDeviceTotalMem, cuDeviceTotalMem_v2, 3020, (size_t * bytes, CUdevice device))          \
    PLAIN(cuDeviceGetAttribute, cuDeviceGetAttribute, 2000,                                        \
          (int *value, CUdevice_attribute attribute, CUdevice device))                             \
    PLAIN(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, 7000,                                \
          (CUcontext * context, CUdevice device))                                                  \
    PLAIN(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, 11000, (CUdevice device))       \
    PLAIN(cuDevicePrimaryCtxReset, cuDevicePrimaryCtxReset_v2, 11000, (CUdevice device))           \
    PLAIN(cuDevicePrimaryCtxSetFlags, cuDevicePrimaryCtxSetFlags_v2, 11000,                        \
          (CUdevice device, unsigned flags))                                                       \
    PLAIN(cuDevicePrimaryCtxGetState, cuDevicePrimaryCtxGetState, 7000,                            \
          (CUdevice device, unsigned *flags, int *active))                                         \
    PLAIN(cuCtxCreate, cuCtxCreate_v2, 3020,                                                       \
          (CUcontext * context, unsigned flags, CUdevice device))                                  \
    PLAIN(cuCtxCreate, cuCtxCreate_v4, 12050,                                                      \
          (CUcontext * context, void *parameters, unsigned flags, CUdevice device))                \
    PLAIN(cuCtxDestroy, cuCtxDestroy_v2, 4000, (CUcontext context))                                \
    PLAIN(cuCtxPushCurrent, cuCtxPushCurrent_v2, 4000, (CUcontext context))                        \
    PLAIN(cuCtxPopCurrent, cuCtxPopCurrent_v2, 4000, (CUcontext * context))                        \
    PLAIN(cuCtxSetCurrent, cuCtxSetCurrent, 4000, (CUcontext context))                             \
    PLAIN(cuCtxGetCurrent, cuCtxGetCurrent, 4000, (CUcontext * context))                           \
    PLAIN(cuCtxGetDevice, cuCtxGetDevice, 2000, (CUdevice * device))                               \
    PLAIN(cuCtxGetFlags, cuCtxGetFlags, 7000, (unsigned *flags))                                   \
    PLAIN(cuCtxGetId, cuCtxGetId, 12000, (CUcontext context, unsigned long long *id))              \
    PLAIN(cuCtxGetApiVersion, cuCtxGetApiVersion, 3020, (CUcontext context, unsigned *version))    \
    PLAIN(cuCtxGetStreamPriorityRange, cuCtxGetStreamPriorityRange, 5050,                          \
          (int *least, int *greatest))                                                             \
    PLAIN(cuCtxSynchronize, cuCtxSynchronize, 2000, (void))                                        \
    PLAIN(cuCtxSynchronize, cuCtxSynchronize_v2, 13000, (CUcontext context))                       \
    PLAIN(cuModuleLoad, cuModuleLoad, 2000, (CUmodule * module, const char *path))                 \
    PLAIN(cuModuleLoadData, cuModuleLoadData, 2000, (CUmodule * module, const void *image))        \
    PLAIN(cuModuleLoadDataEx, cuModuleLoadDataEx, 2010,                                            \
          (CUmodule * module, const void *image, unsigned count, int *options, void **values))     \
    PLAIN(cuModuleLoadFatBinary, cuModuleLoadFatBinary, 2000,                                      \
          (CUmodule * module, const void *image))                                                  \
    PLAIN(cuModuleUnload, cuModuleUnload, 2000, (CUmodule module))                                 \
    PLAIN(cuModuleGetFunction, cuModuleGetFunction, 2000,                                          \
          (CUfunction * function, CUmodule module, const char *name))                              \
    PLAIN(cuModuleGetFunctionCount, cuModuleGetFunctionCount, 12040,                               \
          (unsigned *count, CUmodule module))                                                      \
    PLAIN(cuLibraryLoadData, cuLibraryLoadData, 12000,                                             \
          (CUlibrary * library, const void *image, int *jit, void **jit_values, unsigned jit_count,\
           int *options, void **values, unsigned count))                                           \
    PLAIN(cuLibraryUnload, cuLibraryUnload, 12000, (CUlibrary library))                            \
    PLAIN(cuLibraryGetModule, cuLibraryGetModule, 12000, (CUmodule * module, CUlibrary library))   \
    PLAIN(cuLibraryGetKernel, cuLibraryGetKernel, 12000,                                           \
          (CUkernel * kernel, CUlibrary library, const char *name))                                \
    PLAIN(cuKernelGetFunction, cuKernelGetFunction, 12000,                                         \
          (CUfunction * function, CUkernel kernel))                                                \
    PLAIN(cuFuncGetModule, cuFuncGetModule, 11000, (CUmodule * module, CUfunction function))       \
    PLAIN(cuFuncGetName, cuFuncGetName, 12030, (const char **name, CUfunction function))           \
    PLAIN(cuFuncGetAttribute, cuFuncGetAttribute, 2020,                                            \
          (int *value, int attribute, CUfunction function))                                        \
    PLAIN(cuFuncSetAttribute, cuFuncSetAttribute, 9000,                                            \
          (CUfunction function, int attribute, int value))                                         \
    PLAIN(cuOccupancyMaxActiveBlocksPerMultiprocessor,                                             \
          cuOccupancyMaxActiveBlocksPerMultiprocessor, 6050,                                       \
          (int *blocks, CUfunction function, int threads, size_t shared_bytes))                    \
    STREAM(cuLaunchKernel, cuLaunchKernel, cuLaunchKernel_ptsz, 4000,                              \
           (CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,  \
            unsigned bz, unsigned shared_bytes, CUstream stream, void **parameters, void **extra), \
           (function, gx, gy, gz, bx, by, bz, shared_bytes, PT(stream), parameters, extra))        \
    PLAIN(cuLaunchKernelEx, cuLaunchKernelEx, 11060,                                               \
          (const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra))    \
    STREAM(cuLaunchCooperativeKernel, cuLaunchCooperativeKernel, cuLaunchCooperativeKernel_ptsz,   \
           9000,                                                                                   \
           (CUfunction function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,  \
            unsigned bz, unsigned shared_bytes, CUstream stream, void **parameters),               \
           (function, gx, gy, gz, bx, by, bz, shared_bytes, PT(stream), parameters))               \
    STREAM(cuLaunchHostFunc, cuLaunchHostFunc, cuLaunchHostFunc_ptsz, 10000,                       \
           (CUstream stream, CUhostFn function, void *data), (PT(stream), function, data))         \
    STREAM(cuStreamAddCallback, cuStreamAddCallback, cuStreamAddCallback_ptsz, 5000,               \
           (CUstream stream, CUstreamCallback function, void *data, unsigned flags),               \
           (PT(stream), function, data, flags))                                                    \
    PLAIN(cuStreamCreate, cuStreamCreate, 2000, (CUstream * stream, unsigned flags))               \
    PLAIN(cuStreamCreateWithPriority, cuStreamCreateWithPriority, 5050,                            \
          (CUstream * stream, unsigned flags, int priority))                                       \
    PLAIN(cuStreamDestroy, cuStreamDestroy_v2, 4000, (CUstream stream))                            \
    STREAM(cuStreamSynchronize, cuStreamSynchronize, cuStreamSynchronize_ptsz, 2000,               \
           (CUstream stream), (PT(stream)))                                                        \
    STREAM(cuStreamQuery, cuStreamQuery, cuStreamQuery_ptsz, 2000, (CUstream stream),              \
           (PT(stream)))                                                                           \
    STREAM(cuStreamGetPriority, cuStreamGetPriority, cuStreamGetPriority_ptsz, 5050,               \
           (CUstream stream, int *priority), (PT(stream), priority))                               \
    STREAM(cuStreamGetFlags, cuStreamGetFlags, cuStreamGetFlags_ptsz, 5050,                        \
           (CUstream stream, unsigned *flags), (PT(stream), flags))                                \
    STREAM(cuStreamGetId, cuStreamGetId, cuStreamGetId_ptsz, 12000,                                \
           (CUstream stream, unsigned long long *id), (PT(stream), id))                            \
    STREAM(cuStreamGetCtx, cuStreamGetCtx, cuStreamGetCtx_ptsz, 9020,                              \
           (CUstream stream, CUcontext * context), (PT(stream), context))                          \
    STREAM(cuStreamGetCtx, cuStreamGetCtx_v2, cuStreamGetCtx_v2_ptsz, 12050,                       \
           (CUstream stream, CUcontext * context, CUgreenCtx * green),                             \
           (PT(stream), context, green))                                                           \
    STREAM(cuStreamWaitEvent, cuStreamWaitEvent, cuStreamWaitEvent_ptsz, 3020,                     \
           (CUstream stream, CUevent event, unsigned flags), (PT(stream), event, flags))           \
    PLAIN(cuEventCreate, cuEventCreate, 2000, (CUevent * event, unsigned flags))                   \
    STREAM(cuEventRecord, cuEventRecord, cuEventRecord_ptsz, 2000,                                 \
           (CUevent event, CUstream stream), (event, PT(stream)))                                  \
    STREAM(cuEventRecordWithFlags, cuEventRecordWithFlags, cuEventRecordWithFlags_ptsz, 11010,     \
           (CUevent event, CUstream stream, unsigned flags), (event, PT(stream), flags))           \
    PLAIN(cuEventQuery, cuEventQuery, 2000, (CUevent event))                                       \
    PLAIN(cuEventSynchronize, cuEventSynchronize, 2000, (CUevent event))                           \
    PLAIN(cuEventDestroy, cuEventDestroy_v2, 4000, (CUevent event))                                \
    PLAIN(cuEventElapsedTime, cuEventElapsedTime, 2000,                                            \
          (float *milliseconds, CUevent start, CUevent end))                                       \
    PLAIN(cuEventElapsedTime, cuEventElapsedTime_v2, 12080,                                        \
          (float *milliseconds, CUevent start, CUevent end))                                       \
    PLAIN(cuDeviceGetDevResource, cuDeviceGetDevResource, 12040,                                   \
          (CUdevice device, CUdevResource * resource, int type))                                   \
    PLAIN(cuCtxGetDevResource, cuCtxGetDevResource, 12040,                                         \
          (CUcontext context, CUdevResource * resource, int type))                                 \
    PLAIN(cuGreenCtxGetDevResource, cuGreenCtxGetDevResource, 12040,                               \
          (CUgreenCtx green, CUdevResource * resource, int type))                                  \
    PLAIN(cuDevSmResourceSplitByCount, cuDevSmResourceSplitByCount, 12040,                         \
          (CUdevResource * groups, unsigned *count, const CUdevResource *input,                    \
           CUdevResource *rest, unsigned flags, unsigned least_sms))                               \
    PLAIN(cuDevResourceGenerateDesc, cuDevResourceGenerateDesc, 12040,                             \
          (CUdevResourceDesc * description, CUdevResource * resources, unsigned count))            \
    PLAIN(cuGreenCtxCreate, cuGreenCtxCreate, 12040,                                               \
          (CUgreenCtx * green, CUdevResourceDesc description, CUdevice device, unsigned flags))    \
    PLAIN(cuGreenCtxDestroy, cuGreenCtxDestroy, 12040, (CUgreenCtx green))                         \
    PLAIN(cuCtxFromGreenCtx, cuCtxFromGreenCtx, 12040, (CUcontext * context, CUgreenCtx green))    \
    PLAIN(cuGreenCtxRecordEvent, cuGreenCtxRecordEvent, 12040, (CUgreenCtx green, CUevent event))  \
    PLAIN(cuGreenCtxWaitEvent, cuGreenCtxWaitEvent, 12040, (CUgreenCtx green, CUevent event))      \
    PLAIN(cuStreamGetGreenCtx, cuStreamGetGreenCtx, 12040, (CUstream stream, CUgreenCtx * green))  \
    PLAIN(cuGreenCtxStreamCreate, cuGreenCtxStreamCreate, 12050,                                   \
          (CUstream * stream, CUgreenCtx green, unsigned flags, int priority))                     \
    PLAIN(cuGreenCtxGetId, cuGreenCtxGetId, 12090, (CUgreenCtx green, unsigned long long *id))

#define ENTRIES(PLAIN, STREAM, SYNC)                                                               \
    ENTRIES_CORE(PLAIN, STREAM)                                                                    \
    ENTRIES_MEMORY(PLAIN, STREAM, SYNC)                                                            \
    ENTRIES_GRAPH(PLAIN, STREAM)

#define EMU_EXPORT __attribute__((visibility("default")))
#define DECLARE_PLAIN(base, symbol, since, parameters) EMU_EXPORT CUresult symbol parameters;
#define DECLARE_PAIR(base, symbol, per_thread, since, parameters, arguments)                       \
    EMU_EXPORT CUresult symbol parameters;                                                         \
    EMU_EXPORT CUresult per_thread parameters;

ENTRIES(DECLARE_PLAIN, DECLARE_PAIR, DECLARE_PAIR)

/* Control of the virtual clock, for tests: how far to move it; the time it shows. */
EMU_EXPORT CUresult hasEmulatorAdvanceClock(CUdevice device, int64_t ns);
EMU_EXPORT CUresult hasEmulatorGetClock(CUdevice device, int64_t *ns);

#endif
