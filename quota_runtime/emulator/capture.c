/* Stream capture: calls on a capturing stream become nodes of a graph. */
#include "capture.h"

#include <stdlib.h>

#include "entries.h"
#include "graph.h"

static _Thread_local CUstreamCaptureMode thread_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;

CUresult capture_spoil(struct capture *capture)
{
    capture->spoiled = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

CUresult capture_isolation(struct capture *capture)
{
    capture->spoiled = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
}

/* The new node follows what the stream captured last. */
static CUresult append(CUstream stream, CUgraphNodeType type, CUgraphNode *made)
{
    if (stream->capture->spoiled)
        return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    size_t count = stream->captured != NULL;
    *made = graph_add(stream->capture->graph, type, &stream->captured, count);
    if (!*made)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->captured = *made;
    return CUDA_SUCCESS;
}

CUresult capture_join(CUstream stream, struct capture *capture, CUgraphNode after)
{
    if (stream->capture && stream->capture != capture) {
        capture->spoiled = true;
        return CUDA_ERROR_STREAM_CAPTURE_MERGE;
    }
    stream->capture = capture;
    if (!after || !stream->captured || after == stream->captured) {
        stream->captured = stream->captured ? stream->captured : after;
        return CUDA_SUCCESS;
    }
    CUgraphNode both[2] = {stream->captured, after};
    CUgraphNode node = graph_add(capture->graph, CU_GRAPH_NODE_TYPE_EMPTY, both, 2);
    if (!node)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream->captured = node;
    return CUDA_SUCCESS;
}

CUresult capture_kernel(CUstream stream, const CUDA_KERNEL_NODE_PARAMS *parameters,
                        bool cooperative)
{
    CUgraphNode node;
    CUresult result = append(stream, CU_GRAPH_NODE_TYPE_KERNEL, &node);
    if (result != CUDA_SUCCESS)
        return result;
    node->kernel = *parameters;
    node->context = stream->context; /* it stays there: measured on an H200 */
    node->cooperative = cooperative;
    return CUDA_SUCCESS;
}

CUresult capture_delay(CUstream stream, CUgraphNodeType type, double ns)
{
    CUgraphNode node;
    CUresult result = append(stream, type, &node);
    if (result == CUDA_SUCCESS) {
        node->delay_ns = ns;
        node->context = stream->context;
    }
    return result;
}

CUresult capture_host(CUstream stream, CUhostFn function, void *data)
{
    CUgraphNode node;
    CUresult result = append(stream, CU_GRAPH_NODE_TYPE_HOST, &node);
    if (result == CUDA_SUCCESS) {
        node->host = function;
        node->host_data = data;
    }
    return result;
}

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode)
{
    CUstream stream;
    CUresult result = mode <= CU_STREAM_CAPTURE_MODE_RELAXED ? stream_resolve(handle, &stream)
                                                             : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if (stream == stream->context->legacy)
        return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    if (stream->capture)
        return CUDA_ERROR_ILLEGAL_STATE;
    struct capture *capture = calloc(1, sizeof *capture);
    CUgraph graph = capture ? graph_new() : NULL;
    if (!graph) {
        free(capture);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    *capture = (struct capture){.graph = graph, .origin = stream, .id = objects_next_id()};
    stream->captured = NULL;
    stream->capture = capture;
    return CUDA_SUCCESS;
}

/* Whether every other stream's work was waited for is not checked. Events recorded in the capture
 * keep pointing at it, so the capture itself stays in memory. */
CUresult cuStreamEndCapture(CUstream handle, CUgraph *graph)
{
    CUstream stream;
    CUresult result = graph ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    struct capture *capture = stream->capture;
    if (!capture)
        return CUDA_ERROR_ILLEGAL_STATE;
    if (capture->origin != stream)
        return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    objects_lock();
    for (CUstream s = stream->context->streams; s; s = s->next)
        if (s->capture == capture) {
            s->capture = NULL;
            s->captured = NULL;
        }
    objects_unlock();
    *graph = capture->spoiled ? NULL : capture->graph;
    if (!capture->spoiled)
        return CUDA_SUCCESS;
    cuGraphDestroy(capture->graph);
    return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
}

CUresult cuStreamGetCaptureInfo_v2(CUstream handle, CUstreamCaptureStatus *status, uint64_t *id,
                                   CUgraph *graph, const CUgraphNode **dependencies, size_t *count)
{
    CUstream stream;
    CUresult result = status ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    const struct capture *capture = stream->capture;
    *status = !capture            ? CU_STREAM_CAPTURE_STATUS_NONE
              : capture->spoiled ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                 : CU_STREAM_CAPTURE_STATUS_ACTIVE;
    if (!capture)
        return CUDA_SUCCESS;
    if (id)
        *id = capture->id;
    if (graph)
        *graph = capture->graph;
    if (dependencies)
        *dependencies = &stream->captured;
    if (count)
        *count = stream->captured != NULL;
    return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus *status)
{
    return cuStreamGetCaptureInfo_v2(handle, status, NULL, NULL, NULL, NULL);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode *mode)
{
    if (!mode || *mode > CU_STREAM_CAPTURE_MODE_RELAXED)
        return CUDA_ERROR_INVALID_VALUE;
    CUstreamCaptureMode before = thread_mode;
    thread_mode = *mode;
    *mode = before;
    return CUDA_SUCCESS;
}
