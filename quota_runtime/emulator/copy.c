/* Copies and memsets: the bytes move at once, the stream is busy as long as an H200 would be. */
#include <string.h>

#include "capture.h"
#include "entries.h"
#include "objects.h"

#define START_NS 1500.0
#define HOST_BYTES_PER_NS 50.0     /* PCIe 5 x16 */
#define DEVICE_BYTES_PER_NS 2000.0 /* HBM3e, read and write */

static CUresult busy(CUstream handle, bool wait, double ns, CUgraphNodeType type)
{
    CUstream stream;
    CUresult result = stream_resolve(handle, &stream);
    if (result != CUDA_SUCCESS)
        return result;
    if (stream->capture)
        return wait ? capture_spoil(stream->capture) : capture_delay(stream, type, ns);
    stream_submit(stream, engine_delay(START_NS + ns));
    if (wait)
        stream_wait(stream);
    return CUDA_SUCCESS;
}

static CUresult copy(CUdeviceptr to, CUdeviceptr from, size_t bytes, double bytes_per_ns,
                     CUstream stream, bool wait)
{
    if ((!to || !from) && bytes)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = busy(stream, wait, (double)bytes / bytes_per_ns, CU_GRAPH_NODE_TYPE_MEMCPY);
    if (result == CUDA_SUCCESS)
        memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, bytes);
    return result;
}

static CUresult fill(CUdeviceptr to, unsigned value, size_t width, size_t count, CUstream stream,
                     bool wait)
{
    if ((!to && count) || to % width)
        return CUDA_ERROR_INVALID_VALUE;
    double ns = (double)(width * count) / DEVICE_BYTES_PER_NS;
    CUresult result = busy(stream, wait, ns, CU_GRAPH_NODE_TYPE_MEMSET);
    for (size_t i = 0; result == CUDA_SUCCESS && i < count; i++)
        memcpy((char *)(uintptr_t)to + i * width, &value, width); /* little-endian */
    return result;
}

#define ADDRESS(pointer) ((CUdeviceptr)(uintptr_t)(pointer))

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    return copy(to, from, bytes, DEVICE_BYTES_PER_NS, sync_stream(), true);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes)
{
    return copy(to, ADDRESS(from), bytes, HOST_BYTES_PER_NS, sync_stream(), true);
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes)
{
    return copy(ADDRESS(to), from, bytes, HOST_BYTES_PER_NS, sync_stream(), true);
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
    return copy(to, from, bytes, DEVICE_BYTES_PER_NS, sync_stream(), true);
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy(to, from, bytes, DEVICE_BYTES_PER_NS, stream, false);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
    return copy(to, ADDRESS(from), bytes, HOST_BYTES_PER_NS, stream, false);
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy(ADDRESS(to), from, bytes, HOST_BYTES_PER_NS, stream, false);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream)
{
    return copy(to, from, bytes, DEVICE_BYTES_PER_NS, stream, false);
}

CUresult cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count)
{
    return fill(to, value, 1, count, sync_stream(), false);
}

CUresult cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count)
{
    return fill(to, value, 2, count, sync_stream(), false);
}

CUresult cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count)
{
    return fill(to, value, 4, count, sync_stream(), false);
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream)
{
    return fill(to, value, 1, count, stream, false);
}

CUresult cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream stream)
{
    return fill(to, value, 2, count, stream, false);
}

CUresult cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream)
{
    return fill(to, value, 4, count, stream, false);
}

CUresult cuMemPrefetchAsync(CUdeviceptr pointer, size_t bytes, CUdevice device, CUstream stream)
{
    struct gpu *gpu;
    if (!pointer || (device != -1 && device_gpu(device, &gpu) != CUDA_SUCCESS))
        return CUDA_ERROR_INVALID_VALUE;
    return busy(stream, false, (double)bytes / HOST_BYTES_PER_NS, CU_GRAPH_NODE_TYPE_MEMCPY);
}
