/* Device and host memory. Device memory is host memory that is real only where it was written. */
#include <stdlib.h>
#include <sys/mman.h>

#include "entries.h"
#include "memory.h"

#define BUCKETS 4096
#define PITCH_BYTES 512
#define ROUND_BYTES 512

struct allocation {
    CUdeviceptr pointer;
    size_t bytes; /* mapped and charged */
    struct gpu *gpu;
    CUmemoryPool pool; /* charged to it instead of the process */
    struct allocation *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct allocation *buckets[BUCKETS];

static struct allocation **bucket_of(CUdeviceptr pointer)
{
    return &buckets[(pointer >> 12) % BUCKETS];
}

static bool charge_now(struct gpu *gpu, size_t bytes)
{
    struct emu_gpu *shared = gpu->shared;
    machine_lock(gpu);
    bool fits = bytes <= shared->memory_bytes - shared->memory_used;
    if (fits) {
        shared->processes[gpu->process].memory_bytes += bytes;
        shared->memory_used += bytes;
    }
    machine_unlock(gpu);
    return fits;
}

CUresult memory_charge(struct gpu *gpu, size_t bytes)
{
    if (fault_due(FAULT_ALLOC))
        return CUDA_ERROR_OUT_OF_MEMORY;
    if (charge_now(gpu, bytes))
        return CUDA_SUCCESS;
    machine_reap(gpu, true);
    return charge_now(gpu, bytes) ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

void memory_release(struct gpu *gpu, size_t bytes)
{
    machine_lock(gpu);
    gpu->shared->processes[gpu->process].memory_bytes -= bytes;
    gpu->shared->memory_used -= bytes;
    machine_unlock(gpu);
}

size_t memory_round(size_t bytes)
{
    return (bytes + ROUND_BYTES - 1) / ROUND_BYTES * ROUND_BYTES;
}

bool memory_map(struct gpu *gpu, size_t bytes, CUmemoryPool pool, CUdeviceptr *pointer)
{
    struct allocation *made = malloc(sizeof *made);
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!made || at == MAP_FAILED) {
        free(made);
        if (at != MAP_FAILED)
            munmap(at, bytes);
        return false;
    }
    *pointer = (CUdeviceptr)(uintptr_t)at;
    pthread_mutex_lock(&lock);
    *made = (struct allocation){*pointer, bytes, gpu, pool, *bucket_of(*pointer)};
    *bucket_of(*pointer) = made;
    pthread_mutex_unlock(&lock);
    return true;
}

bool memory_unmap(CUdeviceptr pointer, struct gpu **gpu, size_t *bytes, CUmemoryPool *pool)
{
    struct allocation *found = NULL;
    pthread_mutex_lock(&lock);
    for (struct allocation **at = bucket_of(pointer); *at; at = &(*at)->next)
        if ((*at)->pointer == pointer) {
            found = *at;
            *at = found->next;
            break;
        }
    pthread_mutex_unlock(&lock);
    if (!found)
        return false;
    munmap((void *)(uintptr_t)pointer, found->bytes);
    *gpu = found->gpu;
    *bytes = found->bytes;
    *pool = found->pool;
    free(found);
    return true;
}

CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes)
{
    CUcontext context;
    CUresult result = context_required(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!pointer || bytes == 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > context->gpu->shared->memory_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    bytes = memory_round(bytes);
    result = memory_charge(context->gpu, bytes);
    if (result == CUDA_SUCCESS && !memory_map(context->gpu, bytes, NULL, pointer)) {
        memory_release(context->gpu, bytes);
        result = CUDA_ERROR_OUT_OF_MEMORY;
    }
    return result;
}

CUresult cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height,
                            unsigned element)
{
    if (!pitch || width == 0 || height == 0 || (element != 4 && element != 8 && element != 16))
        return CUDA_ERROR_INVALID_VALUE;
    *pitch = (width + PITCH_BYTES - 1) / PITCH_BYTES * PITCH_BYTES;
    return cuMemAlloc_v2(pointer, *pitch * height);
}

CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags)
{
    return flags == 0 ? CUDA_ERROR_INVALID_VALUE : cuMemAlloc_v2(pointer, bytes);
}

CUresult cuMemFree_v2(CUdeviceptr pointer)
{
    struct gpu *gpu;
    size_t bytes;
    CUmemoryPool pool;
    CUresult result = driver_state();
    if (result != CUDA_SUCCESS || pointer == 0)
        return result;
    if (context_current())
        cuCtxSynchronize(); /* freeing waits for the work that may still use it */
    if (!memory_unmap(pointer, &gpu, &bytes, &pool))
        return CUDA_ERROR_INVALID_VALUE;
    if (pool)
        pool_give(pool, bytes);
    else
        memory_release(gpu, bytes);
    return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer)
{
    CUresult result = CUDA_ERROR_NOT_FOUND;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < BUCKETS && result != CUDA_SUCCESS; i++)
        for (struct allocation *a = buckets[i]; a && result != CUDA_SUCCESS; a = a->next)
            if (pointer >= a->pointer && pointer - a->pointer < a->bytes) {
                if (base)
                    *base = a->pointer;
                if (bytes)
                    *bytes = a->bytes;
                result = CUDA_SUCCESS;
            }
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult cuMemGetInfo_v2(size_t *available, size_t *total)
{
    CUcontext context;
    CUresult result = available && total ? context_required(&context) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    machine_reap(context->gpu, false);
    *total = context->gpu->shared->memory_bytes;
    *available = *total - __atomic_load_n(&context->gpu->shared->memory_used, __ATOMIC_RELAXED);
    return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags)
{
    if (!pointer || bytes == 0 || flags > 7)
        return CUDA_ERROR_INVALID_VALUE;
    *pointer = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    return *pointer ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuMemAllocHost_v2(void **pointer, size_t bytes)
{
    return cuMemHostAlloc(pointer, bytes, 0);
}

CUresult cuMemFreeHost(void *pointer)
{
    free(pointer);
    return CUDA_SUCCESS;
}

CUresult cuMemHostRegister_v2(void *pointer, size_t bytes, unsigned flags)
{
    return pointer && bytes && flags <= 15 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemHostUnregister(void *pointer)
{
    return pointer ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *pointer, unsigned flags)
{
    if (!device || !pointer || flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    *device = (CUdeviceptr)(uintptr_t)pointer;
    return CUDA_SUCCESS;
}
