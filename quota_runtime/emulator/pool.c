/* Stream-ordered allocation from pools. Memory is handed out and taken back at once: no kernel of
 * ours could use it too early. */
#include <stdlib.h>

#include "capture.h"
#include "entries.h"
#include "memory.h"

enum {
    ATTRIBUTE_RELEASE_THRESHOLD = 4,
    ATTRIBUTE_RESERVED_CURRENT = 5,
    ATTRIBUTE_RESERVED_HIGH = 6,
    ATTRIBUTE_USED_CURRENT = 7,
    ATTRIBUTE_USED_HIGH = 8,
};

struct CUmemPoolHandle_st {
    uint32_t kind;
    struct gpu *gpu;
    uint64_t threshold; /* bytes to keep when they become free */
    uint64_t reserved, reserved_high;
    uint64_t used, used_high;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUmemPoolHandle_st defaults[MACHINE_MAX_GPUS];
static CUmemoryPool chosen[MACHINE_MAX_GPUS];

static bool is_pool(CUmemoryPool pool)
{
    return pool && pool->kind == KIND_POOL;
}

static void shrink(CUmemoryPool pool, uint64_t keep)
{
    uint64_t least = pool->used > keep ? pool->used : keep;
    if (pool->reserved <= least)
        return;
    memory_release(pool->gpu, pool->reserved - least);
    pool->reserved = least;
}

void pool_give(CUmemoryPool pool, size_t bytes)
{
    pthread_mutex_lock(&lock);
    pool->used -= bytes;
    shrink(pool, pool->threshold);
    pthread_mutex_unlock(&lock);
}

static CUresult take(CUmemoryPool pool, size_t bytes)
{
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&lock);
    uint64_t wanted = pool->used + bytes;
    if (wanted > pool->reserved)
        result = memory_charge(pool->gpu, wanted - pool->reserved);
    if (result == CUDA_SUCCESS) {
        pool->used = wanted;
        pool->reserved = wanted > pool->reserved ? wanted : pool->reserved;
        pool->used_high = wanted > pool->used_high ? wanted : pool->used_high;
        if (pool->reserved > pool->reserved_high)
            pool->reserved_high = pool->reserved;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device)
{
    struct gpu *gpu;
    CUresult result = pool ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if (!machine_attach(gpu))
        return CUDA_ERROR_OUT_OF_MEMORY;
    defaults[device].kind = KIND_POOL;
    defaults[device].gpu = gpu;
    *pool = &defaults[device];
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetMemPool(CUmemoryPool *pool, CUdevice device)
{
    CUresult result = cuDeviceGetDefaultMemPool(pool, device);
    if (result == CUDA_SUCCESS && chosen[device])
        *pool = chosen[device];
    return result;
}

CUresult cuDeviceSetMemPool(CUdevice device, CUmemoryPool pool)
{
    struct gpu *gpu;
    CUresult result = is_pool(pool) ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        chosen[device] = pool;
    return result;
}

/* The properties' location starts after two ints, as in CUmemAllocationProp. */
CUresult cuMemPoolCreate(CUmemoryPool *made, const CUmemPoolProps *properties)
{
    struct gpu *gpu;
    const CUmemLocation *location = (const CUmemLocation *)((const int *)(const void *)properties + 2);
    if (!made || !properties)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = device_gpu(location->id, &gpu);
    if (result != CUDA_SUCCESS)
        return result;
    CUmemoryPool pool = machine_attach(gpu) ? calloc(1, sizeof *pool) : NULL;
    if (!pool)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pool->kind = KIND_POOL;
    pool->gpu = gpu;
    *made = pool;
    return CUDA_SUCCESS;
}

/* What is still allocated stays valid, so the pool itself stays too. */
CUresult cuMemPoolDestroy(CUmemoryPool pool)
{
    if (!is_pool(pool) || pool == &defaults[pool->gpu->ordinal])
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    pool->threshold = 0;
    shrink(pool, 0);
    pool->kind = 0;
    if (chosen[pool->gpu->ordinal] == pool)
        chosen[pool->gpu->ordinal] = NULL;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep)
{
    if (!is_pool(pool))
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    shrink(pool, keep);
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

static uint64_t *attribute_of(CUmemoryPool pool, int attribute)
{
    switch (attribute) {
    case ATTRIBUTE_RELEASE_THRESHOLD:
        return &pool->threshold;
    case ATTRIBUTE_RESERVED_CURRENT:
        return &pool->reserved;
    case ATTRIBUTE_RESERVED_HIGH:
        return &pool->reserved_high;
    case ATTRIBUTE_USED_CURRENT:
        return &pool->used;
    case ATTRIBUTE_USED_HIGH:
        return &pool->used_high;
    default:
        return NULL;
    }
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, int attribute, void *value)
{
    if (!is_pool(pool) || !value || attribute < 1 || attribute > ATTRIBUTE_USED_HIGH)
        return CUDA_ERROR_INVALID_VALUE;
    const uint64_t *number = attribute_of(pool, attribute);
    if (number)
        *(uint64_t *)value = *number;
    else
        *(int *)value = 1; /* reuse policies, all on as in the driver */
    return CUDA_SUCCESS;
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, int attribute, void *value)
{
    if (!is_pool(pool) || !value || attribute < 1 || attribute > ATTRIBUTE_USED_HIGH)
        return CUDA_ERROR_INVALID_VALUE;
    if (attribute == ATTRIBUTE_RELEASE_THRESHOLD)
        pool->threshold = *(const uint64_t *)value;
    else if (attribute == ATTRIBUTE_RESERVED_HIGH)
        pool->reserved_high = pool->reserved;
    else if (attribute == ATTRIBUTE_USED_HIGH)
        pool->used_high = pool->used;
    return CUDA_SUCCESS;
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *pointer, size_t bytes, CUmemoryPool pool,
                                 CUstream handle)
{
    CUstream stream;
    CUresult result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (!pointer || bytes == 0 || !is_pool(pool))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > pool->gpu->shared->memory_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    bytes = memory_round(bytes);
    result = take(pool, bytes);
    if (result == CUDA_SUCCESS && !memory_map(pool->gpu, bytes, pool, pointer)) {
        pool_give(pool, bytes);
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return result == CUDA_SUCCESS && stream->capture
               ? capture_delay(stream, CU_GRAPH_NODE_TYPE_MEM_ALLOC, 0)
               : result;
}

CUresult cuMemAllocAsync(CUdeviceptr *pointer, size_t bytes, CUstream handle)
{
    CUstream stream;
    CUmemoryPool pool;
    CUresult result = stream_resolve(handle, &stream);
    if (result == CUDA_SUCCESS)
        result = cuDeviceGetMemPool(&pool, stream->context->gpu->ordinal);
    return result == CUDA_SUCCESS ? cuMemAllocFromPoolAsync(pointer, bytes, pool, handle) : result;
}

CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream handle)
{
    CUstream stream;
    struct gpu *gpu;
    size_t bytes;
    CUmemoryPool pool;
    CUresult result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS || pointer == 0)
        return result;
    if (!memory_unmap(pointer, &gpu, &bytes, &pool))
        return CUDA_ERROR_INVALID_VALUE;
    if (pool)
        pool_give(pool, bytes);
    else
        memory_release(gpu, bytes);
    return stream->capture ? capture_delay(stream, CU_GRAPH_NODE_TYPE_MEM_FREE, 0) : CUDA_SUCCESS;
}
