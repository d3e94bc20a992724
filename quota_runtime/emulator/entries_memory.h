/* Memory, copies and pools; see entries.h. */
#ifndef EMU_ENTRIES_MEMORY_H
#define EMU_ENTRIES_MEMORY_H

#define ENTRIES_MEMORY(PLAIN, STREAM, SYNC)                                                        \
    PLAIN(cuMemGetInfo, cuMemGetInfo_v2, 3020, (size_t * available, size_t * total))               \
    PLAIN(cuMemAlloc, cuMemAlloc_v2, 3020, (CUdeviceptr * pointer, size_t bytes))                  \
    PLAIN(cuMemAllocPitch, cuMemAllocPitch_v2, 3020,                                               \
          (CUdeviceptr * pointer, size_t * pitch, size_t width, size_t height, unsigned element))  \
    PLAIN(cuMemAllocManaged, cuMemAllocManaged, 6000,                                              \
          (CUdeviceptr * pointer, size_t bytes, unsigned flags))                                   \
    PLAIN(cuMemFree, cuMemFree_v2, 3020, (CUdeviceptr pointer))                                    \
    PLAIN(cuMemGetAddressRange, cuMemGetAddressRange_v2, 3020,                                     \
          (CUdeviceptr * base, size_t * bytes, CUdeviceptr pointer))                               \
    PLAIN(cuMemAllocHost, cuMemAllocHost_v2, 3020, (void **pointer, size_t bytes))                 \
    PLAIN(cuMemHostAlloc, cuMemHostAlloc, 2020, (void **pointer, size_t bytes, unsigned flags))    \
    PLAIN(cuMemFreeHost, cuMemFreeHost, 2000, (void *pointer))                                     \
    PLAIN(cuMemHostRegister, cuMemHostRegister_v2, 6050,                                           \
          (void *pointer, size_t bytes, unsigned flags))                                           \
    PLAIN(cuMemHostUnregister, cuMemHostUnregister, 4000, (void *pointer))                         \
    PLAIN(cuMemHostGetDevicePointer, cuMemHostGetDevicePointer_v2, 3020,                           \
          (CUdeviceptr * device, void *pointer, unsigned flags))                                   \
    PLAIN(cuArrayCreate, cuArrayCreate_v2, 3020,                                                   \
          (CUarray * array, const CUDA_ARRAY_DESCRIPTOR *description))                             \
    PLAIN(cuArray3DCreate, cuArray3DCreate_v2, 3020,                                               \
          (CUarray * array, const CUDA_ARRAY3D_DESCRIPTOR *description))                           \
    PLAIN(cuArrayDestroy, cuArrayDestroy, 2000, (CUarray array))                                   \
    PLAIN(cuMipmappedArrayCreate, cuMipmappedArrayCreate, 5000,                                    \
          (CUmipmappedArray * array, const CUDA_ARRAY3D_DESCRIPTOR *description, unsigned levels)) \
    PLAIN(cuMipmappedArrayDestroy, cuMipmappedArrayDestroy, 5000, (CUmipmappedArray array))        \
    PLAIN(cuMemCreate, cuMemCreate, 10020,                                                         \
          (CUmemGenericAllocationHandle * handle, size_t bytes,                                    \
           const CUmemAllocationProp *properties, unsigned long long flags))                       \
    PLAIN(cuMemRelease, cuMemRelease, 10020, (CUmemGenericAllocationHandle handle))                \
    PLAIN(cuMemRetainAllocationHandle, cuMemRetainAllocationHandle, 11000,                         \
          (CUmemGenericAllocationHandle * handle, void *address))                                  \
    PLAIN(cuMemGetAllocationGranularity, cuMemGetAllocationGranularity, 10020,                     \
          (size_t * bytes, const CUmemAllocationProp *properties, int option))                     \
    PLAIN(cuMemAddressReserve, cuMemAddressReserve, 10020,                                         \
          (CUdeviceptr * pointer, size_t bytes, size_t alignment, CUdeviceptr wanted,              \
           unsigned long long flags))                                                              \
    PLAIN(cuMemAddressFree, cuMemAddressFree, 10020, (CUdeviceptr pointer, size_t bytes))          \
    PLAIN(cuMemMap, cuMemMap, 10020,                                                               \
          (CUdeviceptr pointer, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,  \
           unsigned long long flags))                                                              \
    PLAIN(cuMemUnmap, cuMemUnmap, 10020, (CUdeviceptr pointer, size_t bytes))                      \
    PLAIN(cuMemSetAccess, cuMemSetAccess, 10020,                                                   \
          (CUdeviceptr pointer, size_t bytes, const void *access, size_t count))                   \
    PLAIN(cuDeviceGetDefaultMemPool, cuDeviceGetDefaultMemPool, 11020,                             \
          (CUmemoryPool * pool, CUdevice device))                                                  \
    PLAIN(cuDeviceGetMemPool, cuDeviceGetMemPool, 11020, (CUmemoryPool * pool, CUdevice device))   \
    PLAIN(cuDeviceSetMemPool, cuDeviceSetMemPool, 11020, (CUdevice device, CUmemoryPool pool))     \
    PLAIN(cuMemPoolCreate, cuMemPoolCreate, 11020,                                                 \
          (CUmemoryPool * pool, const CUmemPoolProps *properties))                                 \
    PLAIN(cuMemPoolDestroy, cuMemPoolDestroy, 11020, (CUmemoryPool pool))                          \
    PLAIN(cuMemPoolTrimTo, cuMemPoolTrimTo, 11020, (CUmemoryPool pool, size_t keep))               \
    PLAIN(cuMemPoolGetAttribute, cuMemPoolGetAttribute, 11020,                                     \
          (CUmemoryPool pool, int attribute, void *value))                                         \
    PLAIN(cuMemPoolSetAttribute, cuMemPoolSetAttribute, 11020,                                     \
          (CUmemoryPool pool, int attribute, void *value))                                         \
    STREAM(cuMemAllocAsync, cuMemAllocAsync, cuMemAllocAsync_ptsz, 11020,                          \
           (CUdeviceptr * pointer, size_t bytes, CUstream stream), (pointer, bytes, PT(stream)))   \
    STREAM(cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync, cuMemAllocFromPoolAsync_ptsz, 11020,  \
           (CUdeviceptr * pointer, size_t bytes, CUmemoryPool pool, CUstream stream),              \
           (pointer, bytes, pool, PT(stream)))                                                     \
    STREAM(cuMemFreeAsync, cuMemFreeAsync, cuMemFreeAsync_ptsz, 11020,                             \
           (CUdeviceptr pointer, CUstream stream), (pointer, PT(stream)))                          \
    SYNC(cuMemcpy, cuMemcpy, cuMemcpy_ptds, 4000,                                                  \
         (CUdeviceptr to, CUdeviceptr from, size_t bytes), (to, from, bytes))                      \
    SYNC(cuMemcpyHtoD, cuMemcpyHtoD_v2, cuMemcpyHtoD_v2_ptds, 3020,                                \
         (CUdeviceptr to, const void *from, size_t bytes), (to, from, bytes))                      \
    SYNC(cuMemcpyDtoH, cuMemcpyDtoH_v2, cuMemcpyDtoH_v2_ptds, 3020,                                \
         (void *to, CUdeviceptr from, size_t bytes), (to, from, bytes))                            \
    SYNC(cuMemcpyDtoD, cuMemcpyDtoD_v2, cuMemcpyDtoD_v2_ptds, 3020,                                \
         (CUdeviceptr to, CUdeviceptr from, size_t bytes), (to, from, bytes))                      \
    STREAM(cuMemcpyAsync, cuMemcpyAsync, cuMemcpyAsync_ptsz, 4000,                                 \
           (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream),                      \
           (to, from, bytes, PT(stream)))                                                          \
    STREAM(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, cuMemcpyHtoDAsync_v2_ptsz, 3020,               \
           (CUdeviceptr to, const void *from, size_t bytes, CUstream stream),                      \
           (to, from, bytes, PT(stream)))                                                          \
    STREAM(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, cuMemcpyDtoHAsync_v2_ptsz, 3020,               \
           (void *to, CUdeviceptr from, size_t bytes, CUstream stream),                            \
           (to, from, bytes, PT(stream)))                                                          \
    STREAM(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2, cuMemcpyDtoDAsync_v2_ptsz, 3020,               \
           (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream),                      \
           (to, from, bytes, PT(stream)))                                                          \
    SYNC(cuMemsetD8, cuMemsetD8_v2, cuMemsetD8_v2_ptds, 3020,                                      \
         (CUdeviceptr to, unsigned char value, size_t count), (to, value, count))                  \
    SYNC(cuMemsetD16, cuMemsetD16_v2, cuMemsetD16_v2_ptds, 3020,                                   \
         (CUdeviceptr to, unsigned short value, size_t count), (to, value, count))                 \
    SYNC(cuMemsetD32, cuMemsetD32_v2, cuMemsetD32_v2_ptds, 3020,                                   \
         (CUdeviceptr to, unsigned value, size_t count), (to, value, count))                       \
    STREAM(cuMemsetD8Async, cuMemsetD8Async, cuMemsetD8Async_ptsz, 3020,                           \
           (CUdeviceptr to, unsigned char value, size_t count, CUstream stream),                   \
           (to, value, count, PT(stream)))                                                         \
    STREAM(cuMemsetD16Async, cuMemsetD16Async, cuMemsetD16Async_ptsz, 3020,                        \
           (CUdeviceptr to, unsigned short value, size_t count, CUstream stream),                  \
           (to, value, count, PT(stream)))                                                         \
    STREAM(cuMemsetD32Async, cuMemsetD32Async, cuMemsetD32Async_ptsz, 3020,                        \
           (CUdeviceptr to, unsigned value, size_t count, CUstream stream),                        \
           (to, value, count, PT(stream)))                                                         \
    STREAM(cuMemPrefetchAsync, cuMemPrefetchAsync, cuMemPrefetchAsync_ptsz, 8000,                  \
           (CUdeviceptr pointer, size_t bytes, CUdevice device, CUstream stream),                  \
           (pointer, bytes, device, PT(stream)))                                                   \
    STREAM(cuStreamWriteValue32, cuStreamWriteValue32_v2, cuStreamWriteValue32_v2_ptsz, 11070,    \
           (CUstream stream, CUdeviceptr pointer, uint32_t value, unsigned flags),                 \
           (PT(stream), pointer, value, flags))

#endif
