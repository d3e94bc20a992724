/* Graphs and captures. */
#include "call.h"
#include "exports.h"
#include "graph.h"

#define GRAPH_LAUNCH(name, per_thread)                                          \
    HAS_EXPORT CUresult name(CUgraphExec graph, CUstream stream)                \
    {                                                                           \
        if (!has_ready() || !has_real.name)                                     \
            return CUDA_ERROR_NOT_INITIALIZED;                                  \
        struct has_graph_turn turn = has_graph_look(graph);                     \
        struct has_call call = has_enter_graph(&turn, stream, per_thread);      \
        CUresult result = has_real.name(turn.exec, call.stream);                \
        if (__builtin_expect(result != CUDA_SUCCESS, 0) &&                      \
            has_graph_fall_back(&turn, call.lane))                              \
            result = has_real.name(turn.exec, call.stream);                     \
        has_graph_leave(&turn);                                                 \
        has_leave(&call, result);                                               \
        return result;                                                          \
    }

GRAPH_LAUNCH(cuGraphLaunch, false)
GRAPH_LAUNCH(cuGraphLaunch_ptsz, true)

/* The stream stays where it is while it captures; our last event must not become a node. */
static struct has_lane *begin(CUstream *stream, bool per_thread)
{
    struct has_lane *lane = has_limits_now() ? has_lane_of(*stream, per_thread) : NULL;
    if (lane) {
        *stream = has_sm_enter(lane, *stream);
        has_meter_close(lane);
        has_graph_captured(has_sm_of(lane));
    }
    atomic_fetch_add(&has_captures, 1);
    return lane;
}

static CUresult begun(struct has_lane *lane, CUresult result)
{
    if (result != CUDA_SUCCESS)
        atomic_fetch_sub(&has_captures, 1);
    if (lane)
        has_sm_leave(lane);
    return result;
}

#define BEGIN(name, per_thread, parameters, arguments)                             \
    HAS_EXPORT CUresult name parameters                                            \
    {                                                                              \
        if (!has_ready() || !has_real.name)                                        \
            return CUDA_ERROR_NOT_INITIALIZED;                                     \
        struct has_lane *lane = begin(&stream, per_thread);                        \
        return begun(lane, has_real.name arguments);                               \
    }

BEGIN(cuStreamBeginCapture, false, (CUstream stream), (stream))
BEGIN(cuStreamBeginCapture_ptsz, true, (CUstream stream), (stream))
BEGIN(cuStreamBeginCapture_v2, false, (CUstream stream, CUstreamCaptureMode mode), (stream, mode))
BEGIN(cuStreamBeginCapture_v2_ptsz, true, (CUstream stream, CUstreamCaptureMode mode),
      (stream, mode))
BEGIN(cuStreamBeginCaptureToGraph, false,
      (CUstream stream, CUgraph graph, const CUgraphNode *nodes, const CUgraphEdgeData *edges,
       size_t count, CUstreamCaptureMode mode),
      (stream, graph, nodes, edges, count, mode))
BEGIN(cuStreamBeginCaptureToGraph_ptsz, true,
      (CUstream stream, CUgraph graph, const CUgraphNode *nodes, const CUgraphEdgeData *edges,
       size_t count, CUstreamCaptureMode mode),
      (stream, graph, nodes, edges, count, mode))

#define END(name, per_thread)                                                                \
    HAS_EXPORT CUresult name(CUstream stream, CUgraph *graph)                                \
    {                                                                                        \
        if (!has_ready() || !has_real.name)                                                  \
            return CUDA_ERROR_NOT_INITIALIZED;                                               \
        struct has_lane *lane = has_limits_now() ? has_lane_of(stream, per_thread) : NULL;   \
        CUstream placed = lane ? has_sm_stay(lane, stream) : stream;                         \
        CUresult result = has_real.name(placed, graph);                                      \
        if (lane)                                                                            \
            has_sm_leave(lane);                                                              \
        /* An invalid capture ends too; a stream that never captured does not count. */      \
        if (result != CUDA_ERROR_ILLEGAL_STATE && atomic_load(&has_captures) > 0)            \
            atomic_fetch_sub(&has_captures, 1);                                              \
        if (result == CUDA_SUCCESS && graph)                                                 \
            has_graph_ended(*graph);                                                         \
        return result;                                                                       \
    }

END(cuStreamEndCapture, false)
END(cuStreamEndCapture_ptsz, true)

/* --- from a graph to what can be launched -------------------------------------------------- */

#define INSTANTIATE(name, parameters, arguments, given_flags)         \
    HAS_EXPORT CUresult name parameters                               \
    {                                                                 \
        if (!has_ready() || !has_real.name)                           \
            return CUDA_ERROR_NOT_INITIALIZED;                        \
        CUresult result = has_real.name arguments;                    \
        if (result == CUDA_SUCCESS && exec)                           \
            has_graph_made(*exec, graph, given_flags);                \
        return result;                                                \
    }

INSTANTIATE(cuGraphInstantiate,
            (CUgraphExec * exec, CUgraph graph, CUgraphNode *node, char *log, size_t size),
            (exec, graph, node, log, size), 0)
INSTANTIATE(cuGraphInstantiate_v2,
            (CUgraphExec * exec, CUgraph graph, CUgraphNode *node, char *log, size_t size),
            (exec, graph, node, log, size), 0)
INSTANTIATE(cuGraphInstantiateWithFlags,
            (CUgraphExec * exec, CUgraph graph, unsigned long long flags), (exec, graph, flags),
            flags)
INSTANTIATE(cuGraphInstantiateWithParams,
            (CUgraphExec * exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *parameters),
            (exec, graph, parameters), parameters ? parameters->flags : 0)
INSTANTIATE(cuGraphInstantiateWithParams_ptsz,
            (CUgraphExec * exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS *parameters),
            (exec, graph, parameters), parameters ? parameters->flags : 0)

HAS_EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    if (!has_ready() || !has_real.cuGraphExecDestroy)
        return CUDA_ERROR_NOT_INITIALIZED;
    has_graph_exec_gone(exec);
    return has_real.cuGraphExecDestroy(exec);
}

HAS_EXPORT CUresult cuGraphDestroy(CUgraph graph)
{
    if (!has_ready() || !has_real.cuGraphDestroy)
        return CUDA_ERROR_NOT_INITIALIZED;
    has_graph_gone(graph);
    return has_real.cuGraphDestroy(graph);
}

/* --- what makes a copy of it wrong --------------------------------------------------------- */

#define CHANGES(name, parameters, arguments)                          \
    HAS_EXPORT CUresult name parameters                               \
    {                                                                 \
        if (!has_ready() || !has_real.name)                           \
            return CUDA_ERROR_NOT_INITIALIZED;                        \
        has_graph_changed(a);                                         \
        return has_real.name arguments;                               \
    }

#define UNLOADS(name, parameters, arguments)                          \
    HAS_EXPORT CUresult name parameters                               \
    {                                                                 \
        if (!has_ready() || !has_real.name)                           \
            return CUDA_ERROR_NOT_INITIALIZED;                        \
        has_graph_unloading();                                        \
        return has_real.name arguments;                               \
    }

#define OTHER(name, parameters, arguments)
#define BY_CHANGE CHANGES
#define BY_UNLOAD UNLOADS
#define BY_ROUTE OTHER
#define BY_LAUNCH OTHER
#define BY_UNGATED OTHER
#define BY_CAPTURE OTHER
#define BY_STREAM OTHER
#define BY_SYNC OTHER
#define BY_CONTEXT OTHER
#define BY_MEMORY OTHER
#define H(name, kind, parameters, arguments) BY_##kind(name, parameters, arguments)
#include "has_entries.def"
