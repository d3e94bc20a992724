/* Physical memory by handle: charged until the last handle and the last mapping are gone. */
#include "call.h"
#include "exports.h"
#include "ledger.h"
#include "memory.h"

HAS_EXPORT CUresult cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes,
                                const CUmemAllocationProp *properties, unsigned long long flags)
{
    if (!has_ready() || !has_real.cuMemCreate)
        return CUDA_ERROR_NOT_INITIALIZED;
    /* Host memory is not the GPU's. No context is asked for: libraries create before they have
     * one. */
    if (!handle || !properties || properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return has_real.cuMemCreate(handle, bytes, properties, flags);
    if (!has_memory_reserve(bytes))
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUresult result = has_real.cuMemCreate(handle, bytes, properties, flags);
    if (result == CUDA_SUCCESS)
        has_ledger_add(HAS_LEDGER_PHYSICAL, *handle, bytes);
    else
        has_memory_give_back(bytes);
    return result;
}

HAS_EXPORT CUresult cuMemRelease(CUmemGenericAllocationHandle handle)
{
    if (!has_ready() || !has_real.cuMemRelease)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuMemRelease(handle);
    if (result == CUDA_SUCCESS)
        has_memory_give_back(has_ledger_release(HAS_LEDGER_PHYSICAL, handle));
    return result;
}

HAS_EXPORT CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address)
{
    if (!has_ready() || !has_real.cuMemRetainAllocationHandle)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuMemRetainAllocationHandle(handle, address);
    if (result == CUDA_SUCCESS && handle)
        has_ledger_retain(HAS_LEDGER_PHYSICAL, *handle);
    return result;
}

HAS_EXPORT CUresult cuMemMap(CUdeviceptr pointer, size_t bytes, size_t offset,
                             CUmemGenericAllocationHandle handle, unsigned long long flags)
{
    if (!has_ready() || !has_real.cuMemMap)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuMemMap(pointer, bytes, offset, handle, flags);
    if (result == CUDA_SUCCESS) {
        has_ledger_retain(HAS_LEDGER_PHYSICAL, handle);
        has_ledger_map(pointer, bytes, handle);
    }
    return result;
}

HAS_EXPORT CUresult cuMemUnmap(CUdeviceptr pointer, size_t bytes)
{
    if (!has_ready() || !has_real.cuMemUnmap)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuMemUnmap(pointer, bytes);
    uint64_t handle;
    while (result == CUDA_SUCCESS && has_ledger_unmap(pointer, bytes, &handle))
        has_memory_give_back(has_ledger_release(HAS_LEDGER_PHYSICAL, handle));
    return result;
}
