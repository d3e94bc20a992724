/* Memory that is made, mapped and released apart (virtual memory management), and arrays. */
#include <stdlib.h>
#include <sys/mman.h>

#include "entries.h"
#include "memory.h"

#define GRANULARITY (2ull << 20)

/* Physical memory lives until it is released and unmapped everywhere. */
struct physical {
    struct gpu *gpu;
    size_t bytes;
    int uses;
};

struct mapping {
    CUdeviceptr pointer;
    size_t bytes;
    struct physical *physical;
    struct mapping *next;
};

struct CUarray_st {
    struct gpu *gpu;
    size_t bytes;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mapping *mappings;

static struct physical *physical_of(CUmemGenericAllocationHandle handle)
{
    return (struct physical *)(uintptr_t)handle;
}

static void drop_use(struct physical *physical)
{
    if (--physical->uses > 0)
        return;
    memory_release(physical->gpu, physical->bytes);
    free(physical);
}

CUresult cuMemGetAllocationGranularity(size_t *bytes, const CUmemAllocationProp *properties,
                                       int option)
{
    if (!bytes || !properties || option > 1)
        return CUDA_ERROR_INVALID_VALUE;
    *bytes = GRANULARITY;
    return CUDA_SUCCESS;
}

CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes,
                     const CUmemAllocationProp *properties, unsigned long long flags)
{
    struct gpu *gpu;
    if (!handle || !properties || flags || bytes == 0 || bytes % GRANULARITY ||
        properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = device_gpu(properties->location.id, &gpu);
    if (result != CUDA_SUCCESS)
        return result;
    struct physical *made = machine_attach(gpu) ? malloc(sizeof *made) : NULL;
    result = made ? memory_charge(gpu, bytes) : CUDA_ERROR_OUT_OF_MEMORY;
    if (result != CUDA_SUCCESS) {
        free(made);
        return result;
    }
    *made = (struct physical){gpu, bytes, 1};
    *handle = (uintptr_t)made;
    return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    if (!handle)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    drop_use(physical_of(handle));
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
    CUdeviceptr pointer = (CUdeviceptr)(uintptr_t)address;
    CUresult result = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&lock);
    for (struct mapping *m = mappings; m && handle && result != CUDA_SUCCESS; m = m->next)
        if (pointer >= m->pointer && pointer - m->pointer < m->bytes) {
            m->physical->uses++;
            *handle = (uintptr_t)m->physical;
            result = CUDA_SUCCESS;
        }
    pthread_mutex_unlock(&lock);
    return result;
}

CUresult cuMemAddressReserve(CUdeviceptr *pointer, size_t bytes, size_t alignment,
                             CUdeviceptr wanted, unsigned long long flags)
{
    (void)alignment, (void)wanted; /* a hint, and pages are all that a program can see */
    if (!pointer || bytes == 0 || bytes % GRANULARITY || flags)
        return CUDA_ERROR_INVALID_VALUE;
    void *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *pointer = (CUdeviceptr)(uintptr_t)at;
    return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr pointer, size_t bytes)
{
    return pointer && bytes && munmap((void *)(uintptr_t)pointer, bytes) == 0
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemMap(CUdeviceptr pointer, size_t bytes, size_t offset,
                  CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    if (!pointer || !handle || flags || offset || bytes != physical_of(handle)->bytes)
        return CUDA_ERROR_INVALID_VALUE;
    struct mapping *made = malloc(sizeof *made);
    if (!made)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    *made = (struct mapping){pointer, bytes, physical_of(handle), mappings};
    made->physical->uses++;
    mappings = made;
    pthread_mutex_unlock(&lock);
    return CUDA_SUCCESS;
}

CUresult cuMemUnmap(CUdeviceptr pointer, size_t bytes)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    for (struct mapping **at = &mappings; *at;) {
        struct mapping *m = *at;
        if (m->pointer < pointer || m->pointer + m->bytes > pointer + bytes) {
            at = &m->next;
            continue;
        }
        found = true;
        *at = m->next;
        mprotect((void *)(uintptr_t)m->pointer, m->bytes, PROT_NONE);
        drop_use(m->physical);
        free(m);
    }
    pthread_mutex_unlock(&lock);
    return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemSetAccess(CUdeviceptr pointer, size_t bytes, const void *access, size_t count)
{
    if (!pointer || !bytes || !access || !count)
        return CUDA_ERROR_INVALID_VALUE;
    return mprotect((void *)(uintptr_t)pointer, bytes, PROT_READ | PROT_WRITE) == 0
               ? CUDA_SUCCESS
               : CUDA_ERROR_INVALID_VALUE;
}

static size_t element_bytes(CUarray_format format, unsigned channels)
{
    switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8:
        return channels;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF:
        return 2ul * channels;
    default:
        return 4ul * channels;
    }
}

static CUresult make_array(CUarray *made, const CUDA_ARRAY3D_DESCRIPTOR *shape)
{
    CUcontext context;
    CUresult result = context_required(&context);
    if (result != CUDA_SUCCESS)
        return result;
    if (!made || shape->Width == 0)
        return CUDA_ERROR_INVALID_VALUE;
    size_t bytes = memory_round(shape->Width * (shape->Height ? shape->Height : 1) *
                                (shape->Depth ? shape->Depth : 1) *
                                element_bytes(shape->Format, shape->NumChannels));
    CUarray array = malloc(sizeof *array);
    result = array ? memory_charge(context->gpu, bytes) : CUDA_ERROR_OUT_OF_MEMORY;
    if (result != CUDA_SUCCESS) {
        free(array);
        return result;
    }
    *array = (struct CUarray_st){context->gpu, bytes};
    *made = array;
    return CUDA_SUCCESS;
}

CUresult cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *description)
{
    if (!description)
        return CUDA_ERROR_INVALID_VALUE;
    CUDA_ARRAY3D_DESCRIPTOR shape = {description->Width,  description->Height,      0,
                                     description->Format, description->NumChannels, 0};
    return make_array(array, &shape);
}

CUresult cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *description)
{
    return description ? make_array(array, description) : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuArrayDestroy(CUarray array)
{
    if (!array)
        return CUDA_ERROR_INVALID_HANDLE;
    memory_release(array->gpu, array->bytes);
    free(array);
    return CUDA_SUCCESS;
}

/* All levels together, at most a third more than the first. */
CUresult cuMipmappedArrayCreate(CUmipmappedArray *array, const CUDA_ARRAY3D_DESCRIPTOR *description,
                                unsigned levels)
{
    if (!description || levels == 0)
        return CUDA_ERROR_INVALID_VALUE;
    CUDA_ARRAY3D_DESCRIPTOR shape = *description;
    shape.Width = levels > 1 ? shape.Width * 4 / 3 : shape.Width;
    return make_array((CUarray *)array, &shape);
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray array)
{
    return cuArrayDestroy((CUarray)array);
}
