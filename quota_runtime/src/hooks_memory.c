/* Allocations. Bytes are reserved before the driver is asked and given back when it refuses. */
#include "call.h"
#include "exports.h"
#include "ledger.h"
#include "memory.h"

static CUresult keep(CUresult result, enum has_ledger_kind kind, uint64_t handle, uint64_t bytes)
{
    if (result == CUDA_SUCCESS)
        has_ledger_add(kind, handle, bytes);
    else
        has_memory_give_back(bytes);
    return result;
}

static CUresult let_go(CUresult result, enum has_ledger_kind kind, uint64_t handle)
{
    if (result == CUDA_SUCCESS)
        has_memory_give_back(has_ledger_remove(kind, handle));
    return result;
}

HAS_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes)
{
    if (!has_ready() || !has_real.cuMemAlloc_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!pointer)
        return has_real.cuMemAlloc_v2(pointer, bytes);
    if (!has_memory_reserve(bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = has_real.cuMemAlloc_v2(pointer, bytes);
    return keep(result, HAS_LEDGER_POINTER, *pointer, bytes);
}

HAS_EXPORT CUresult cuMemAllocPitch_v2(CUdeviceptr *pointer, size_t *pitch, size_t width,
                                       size_t height, unsigned element)
{
    if (!has_ready() || !has_real.cuMemAllocPitch_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    size_t bytes;
    if (!pointer || !pitch || __builtin_mul_overflow(width, height, &bytes))
        return has_real.cuMemAllocPitch_v2(pointer, pitch, width, height, element);
    if (!has_memory_reserve(bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = has_real.cuMemAllocPitch_v2(pointer, pitch, width, height, element);
    if (result != CUDA_SUCCESS)
        return keep(result, HAS_LEDGER_POINTER, 0, bytes);
    /* Only now the driver has said how wide a row became. */
    size_t padding = *pitch * height > bytes ? *pitch * height - bytes : 0;
    if (has_memory_reserve(padding))
        return keep(result, HAS_LEDGER_POINTER, *pointer, bytes + padding);
    if (has_real.cuMemFree_v2)
        has_real.cuMemFree_v2(*pointer);
    has_memory_give_back(bytes);
    return CUDA_ERROR_OUT_OF_MEMORY;
}

HAS_EXPORT CUresult cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned flags)
{
    if (!has_ready() || !has_real.cuMemAllocManaged)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!pointer)
        return has_real.cuMemAllocManaged(pointer, bytes, flags);
    if (!has_memory_reserve(bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = has_real.cuMemAllocManaged(pointer, bytes, flags);
    return keep(result, HAS_LEDGER_POINTER, *pointer, bytes);
}

HAS_EXPORT CUresult cuMemFree_v2(CUdeviceptr pointer)
{
    if (!has_ready() || !has_real.cuMemFree_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    /* Forgotten first: another thread may be handed the same address at once. */
    uint64_t bytes = has_ledger_remove(HAS_LEDGER_POINTER, pointer);
    CUresult result = has_real.cuMemFree_v2(pointer);
    if (result == CUDA_SUCCESS)
        has_memory_give_back(bytes);
    else if (bytes)
        has_ledger_add(HAS_LEDGER_POINTER, pointer, bytes);
    return result;
}

#define ALLOC_ASYNC(name, per_thread)                                                       \
    HAS_EXPORT CUresult name(CUdeviceptr *pointer, size_t bytes, CUstream stream)           \
    {                                                                                       \
        if (!has_ready() || !has_real.name)                                                 \
            return CUDA_ERROR_NOT_INITIALIZED;                                              \
        if (!pointer)                                                                       \
            return has_real.name(pointer, bytes, stream);                                   \
        if (!has_memory_reserve(bytes))                                                     \
            return CUDA_ERROR_OUT_OF_MEMORY;                                                \
        struct has_call call = has_enter(HAS_ORDER, NULL, 0, stream, per_thread);           \
        CUresult result = has_real.name(pointer, bytes, call.stream);                       \
        has_leave(&call, result);                                                           \
        return keep(result, HAS_LEDGER_POINTER, *pointer, bytes);                           \
    }

ALLOC_ASYNC(cuMemAllocAsync, false)
ALLOC_ASYNC(cuMemAllocAsync_ptsz, true)

#define ALLOC_POOL(name, per_thread)                                                        \
    HAS_EXPORT CUresult name(CUdeviceptr *pointer, size_t bytes, CUmemoryPool pool,         \
                             CUstream stream)                                               \
    {                                                                                       \
        if (!has_ready() || !has_real.name)                                                 \
            return CUDA_ERROR_NOT_INITIALIZED;                                              \
        if (!pointer)                                                                       \
            return has_real.name(pointer, bytes, pool, stream);                             \
        if (!has_memory_reserve(bytes))                                                     \
            return CUDA_ERROR_OUT_OF_MEMORY;                                                \
        struct has_call call = has_enter(HAS_ORDER, NULL, 0, stream, per_thread);           \
        CUresult result = has_real.name(pointer, bytes, pool, call.stream);                 \
        has_leave(&call, result);                                                           \
        return keep(result, HAS_LEDGER_POINTER, *pointer, bytes);                           \
    }

ALLOC_POOL(cuMemAllocFromPoolAsync, false)
ALLOC_POOL(cuMemAllocFromPoolAsync_ptsz, true)

#define FREE_ASYNC(name, per_thread)                                                        \
    HAS_EXPORT CUresult name(CUdeviceptr pointer, CUstream stream)                          \
    {                                                                                       \
        if (!has_ready() || !has_real.name)                                                 \
            return CUDA_ERROR_NOT_INITIALIZED;                                              \
        struct has_call call = has_enter(HAS_ORDER, NULL, 0, stream, per_thread);           \
        uint64_t bytes = has_ledger_remove(HAS_LEDGER_POINTER, pointer);                    \
        CUresult result = has_real.name(pointer, call.stream);                              \
        has_leave(&call, result);                                                           \
        if (result == CUDA_SUCCESS)                                                         \
            has_memory_give_back(bytes);                                                    \
        else if (bytes)                                                                     \
            has_ledger_add(HAS_LEDGER_POINTER, pointer, bytes);                             \
        return result;                                                                      \
    }

FREE_ASYNC(cuMemFreeAsync, false)
FREE_ASYNC(cuMemFreeAsync_ptsz, true)

/* --- arrays ------------------------------------------------------------------------------- */

static uint64_t element_bytes(CUarray_format format, unsigned channels)
{
    unsigned each = 4;
    if (format == CU_AD_FORMAT_UNSIGNED_INT8 || format == CU_AD_FORMAT_SIGNED_INT8)
        each = 1;
    else if (format == CU_AD_FORMAT_UNSIGNED_INT16 || format == CU_AD_FORMAT_SIGNED_INT16 ||
             format == CU_AD_FORMAT_HALF)
        each = 2;
    return (uint64_t)each * (channels ? channels : 1);
}

static uint64_t volume(size_t width, size_t height, size_t depth)
{
    return (uint64_t)width * (height ? height : 1) * (depth ? depth : 1);
}

HAS_EXPORT CUresult cuArrayCreate_v2(CUarray *array, const CUDA_ARRAY_DESCRIPTOR *shape)
{
    if (!has_ready() || !has_real.cuArrayCreate_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!array || !shape)
        return has_real.cuArrayCreate_v2(array, shape);
    uint64_t bytes =
        volume(shape->Width, shape->Height, 1) * element_bytes(shape->Format, shape->NumChannels);
    if (!has_memory_reserve(bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = has_real.cuArrayCreate_v2(array, shape);
    return keep(result, HAS_LEDGER_ARRAY, (uintptr_t)*array, bytes);
}

HAS_EXPORT CUresult cuArray3DCreate_v2(CUarray *array, const CUDA_ARRAY3D_DESCRIPTOR *shape)
{
    if (!has_ready() || !has_real.cuArray3DCreate_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!array || !shape)
        return has_real.cuArray3DCreate_v2(array, shape);
    uint64_t bytes = volume(shape->Width, shape->Height, shape->Depth) *
                     element_bytes(shape->Format, shape->NumChannels);
    if (!has_memory_reserve(bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = has_real.cuArray3DCreate_v2(array, shape);
    return keep(result, HAS_LEDGER_ARRAY, (uintptr_t)*array, bytes);
}

HAS_EXPORT CUresult cuArrayDestroy(CUarray array)
{
    if (!has_ready() || !has_real.cuArrayDestroy)
        return CUDA_ERROR_NOT_INITIALIZED;
    return let_go(has_real.cuArrayDestroy(array), HAS_LEDGER_ARRAY, (uintptr_t)array);
}

HAS_EXPORT CUresult cuMipmappedArrayCreate(CUmipmappedArray *array,
                                           const CUDA_ARRAY3D_DESCRIPTOR *shape, unsigned levels)
{
    if (!has_ready() || !has_real.cuMipmappedArrayCreate)
        return CUDA_ERROR_NOT_INITIALIZED;
    if (!array || !shape)
        return has_real.cuMipmappedArrayCreate(array, shape, levels);
    /* All smaller levels together take at most a third more in 2D, as much again in 1D. */
    uint64_t bytes = volume(shape->Width, shape->Height, shape->Depth) *
                     element_bytes(shape->Format, shape->NumChannels);
    if (levels > 1)
        bytes += shape->Height > 1 ? bytes / 3 : bytes;
    if (!has_memory_reserve(bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = has_real.cuMipmappedArrayCreate(array, shape, levels);
    return keep(result, HAS_LEDGER_ARRAY, (uintptr_t)*array, bytes);
}

HAS_EXPORT CUresult cuMipmappedArrayDestroy(CUmipmappedArray array)
{
    if (!has_ready() || !has_real.cuMipmappedArrayDestroy)
        return CUDA_ERROR_NOT_INITIALIZED;
    return let_go(has_real.cuMipmappedArrayDestroy(array), HAS_LEDGER_ARRAY, (uintptr_t)array);
}

/* What the pod may still have, as the program's own reading of the device. Never an error. */
HAS_EXPORT CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total)
{
    if (!has_ready() || !has_real.cuMemGetInfo_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuMemGetInfo_v2(free_bytes, total);
    uint64_t limit = has_memory_limit();
    if (result != CUDA_SUCCESS || !free_bytes || !total || limit >= *total)
        return result;
    uint64_t used = has_memory_used(), left = limit > used ? limit - used : 0;
    *total = limit;
    if (left < *free_bytes)
        *free_bytes = left;
    return result;
}
