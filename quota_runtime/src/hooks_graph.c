/* Graphs and captures. */
#include "call.h"
#include "exports.h"

#define GRAPH_LAUNCH(name, per_thread)                                          \
    HAS_EXPORT CUresult name(CUgraphExec graph, CUstream stream)                \
    {                                                                           \
        if (!has_ready() || !has_real.name)                                     \
            return CUDA_ERROR_NOT_INITIALIZED;                                  \
        struct has_call call = has_enter(HAS_GRAPH, graph, 0, stream, per_thread); \
        CUresult result = has_real.name(graph, call.stream);                    \
        has_leave(&call, result);                                               \
        return result;                                                          \
    }

GRAPH_LAUNCH(cuGraphLaunch, false)
GRAPH_LAUNCH(cuGraphLaunch_ptsz, true)

/* The stream stays where it is while it captures; our last event must not become a node. */
static CUstream begin(CUstream stream, bool per_thread)
{
    const struct has_view *view = has_limits_now();
    struct has_lane *lane = view ? has_lane_of(stream, per_thread) : NULL;
    if (lane)
        stream = has_sm_place(lane, stream, view);
    if (lane)
        has_meter_close(lane);
    atomic_fetch_add(&has_captures, 1);
    return stream;
}

static CUresult begun(CUresult result)
{
    if (result != CUDA_SUCCESS)
        atomic_fetch_sub(&has_captures, 1);
    return result;
}

#define BEGIN(name, per_thread)                                                    \
    HAS_EXPORT CUresult name(CUstream stream)                                      \
    {                                                                              \
        if (!has_ready() || !has_real.name)                                        \
            return CUDA_ERROR_NOT_INITIALIZED;                                     \
        return begun(has_real.name(begin(stream, per_thread)));                    \
    }

BEGIN(cuStreamBeginCapture, false)
BEGIN(cuStreamBeginCapture_ptsz, true)

#define BEGIN_V2(name, per_thread)                                                 \
    HAS_EXPORT CUresult name(CUstream stream, CUstreamCaptureMode mode)            \
    {                                                                              \
        if (!has_ready() || !has_real.name)                                        \
            return CUDA_ERROR_NOT_INITIALIZED;                                     \
        return begun(has_real.name(begin(stream, per_thread), mode));              \
    }

BEGIN_V2(cuStreamBeginCapture_v2, false)
BEGIN_V2(cuStreamBeginCapture_v2_ptsz, true)

#define BEGIN_TO_GRAPH(name, per_thread)                                                     \
    HAS_EXPORT CUresult name(CUstream stream, CUgraph graph, const CUgraphNode *nodes,       \
                             const CUgraphEdgeData *edges, size_t count,                     \
                             CUstreamCaptureMode mode)                                       \
    {                                                                                        \
        if (!has_ready() || !has_real.name)                                                  \
            return CUDA_ERROR_NOT_INITIALIZED;                                               \
        return begun(                                                                        \
            has_real.name(begin(stream, per_thread), graph, nodes, edges, count, mode));     \
    }

BEGIN_TO_GRAPH(cuStreamBeginCaptureToGraph, false)
BEGIN_TO_GRAPH(cuStreamBeginCaptureToGraph_ptsz, true)

#define END(name, per_thread)                                                                \
    HAS_EXPORT CUresult name(CUstream stream, CUgraph *graph)                                \
    {                                                                                        \
        if (!has_ready() || !has_real.name)                                                  \
            return CUDA_ERROR_NOT_INITIALIZED;                                               \
        struct has_lane *lane = has_limits_now() ? has_lane_of(stream, per_thread) : NULL;   \
        CUresult result = has_real.name(lane ? has_sm_stay(lane, stream) : stream, graph);   \
        /* An invalid capture ends too; a stream that never captured does not count. */      \
        if (result != CUDA_ERROR_ILLEGAL_STATE && atomic_load(&has_captures) > 0)            \
            atomic_fetch_sub(&has_captures, 1);                                              \
        return result;                                                                       \
    }

END(cuStreamEndCapture, false)
END(cuStreamEndCapture_ptsz, true)
