/* Stream capture and graphs; see entries.h. */
#ifndef EMU_ENTRIES_GRAPH_H
#define EMU_ENTRIES_GRAPH_H

#define ENTRIES_GRAPH(PLAIN, STREAM)                                                               \
    STREAM(cuStreamBeginCapture, cuStreamBeginCapture_v2, cuStreamBeginCapture_v2_ptsz, 10010,     \
           (CUstream stream, CUstreamCaptureMode mode), (PT(stream), mode))                        \
    STREAM(cuStreamEndCapture, cuStreamEndCapture, cuStreamEndCapture_ptsz, 10000,                 \
           (CUstream stream, CUgraph * graph), (PT(stream), graph))                                \
    STREAM(cuStreamIsCapturing, cuStreamIsCapturing, cuStreamIsCapturing_ptsz, 10000,              \
           (CUstream stream, CUstreamCaptureStatus * status), (PT(stream), status))                \
    STREAM(cuStreamGetCaptureInfo, cuStreamGetCaptureInfo_v2, cuStreamGetCaptureInfo_v2_ptsz,      \
           11030,                                                                                  \
           (CUstream stream, CUstreamCaptureStatus * status, uint64_t * id, CUgraph * graph,       \
            const CUgraphNode **dependencies, size_t *count),                                      \
           (PT(stream), status, id, graph, dependencies, count))                                   \
    PLAIN(cuThreadExchangeStreamCaptureMode, cuThreadExchangeStreamCaptureMode, 10010,             \
          (CUstreamCaptureMode * mode))                                                            \
    PLAIN(cuGraphCreate, cuGraphCreate, 10000, (CUgraph * graph, unsigned flags))                  \
    PLAIN(cuGraphDestroy, cuGraphDestroy, 10000, (CUgraph graph))                                  \
    PLAIN(cuGraphClone, cuGraphClone, 10000, (CUgraph * clone, CUgraph original))                  \
    PLAIN(cuGraphNodeFindInClone, cuGraphNodeFindInClone, 10000,                                   \
          (CUgraphNode * node, CUgraphNode original, CUgraph clone))                               \
    PLAIN(cuGraphGetNodes, cuGraphGetNodes, 10000,                                                 \
          (CUgraph graph, CUgraphNode * nodes, size_t * count))                                    \
    PLAIN(cuGraphNodeGetDependencies, cuGraphNodeGetDependencies, 10000,                           \
          (CUgraphNode node, CUgraphNode * after, size_t * count))                                 \
    PLAIN(cuGraphNodeGetType, cuGraphNodeGetType, 10000,                                           \
          (CUgraphNode node, CUgraphNodeType * type))                                              \
    PLAIN(cuGraphAddKernelNode, cuGraphAddKernelNode_v2, 12000,                                    \
          (CUgraphNode * node, CUgraph graph, const CUgraphNode *after, size_t count,              \
           const CUDA_KERNEL_NODE_PARAMS *parameters))                                             \
    PLAIN(cuGraphAddEmptyNode, cuGraphAddEmptyNode, 10000,                                         \
          (CUgraphNode * node, CUgraph graph, const CUgraphNode *after, size_t count))             \
    PLAIN(cuGraphAddChildGraphNode, cuGraphAddChildGraphNode, 10000,                               \
          (CUgraphNode * node, CUgraph graph, const CUgraphNode *after, size_t count,              \
           CUgraph child))                                                                         \
    PLAIN(cuGraphChildGraphNodeGetGraph, cuGraphChildGraphNodeGetGraph, 10000,                     \
          (CUgraphNode node, CUgraph * graph))                                                     \
    PLAIN(cuGraphKernelNodeGetParams, cuGraphKernelNodeGetParams_v2, 12000,                        \
          (CUgraphNode node, CUDA_KERNEL_NODE_PARAMS * parameters))                                \
    PLAIN(cuGraphKernelNodeSetParams, cuGraphKernelNodeSetParams_v2, 12000,                        \
          (CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *parameters))                           \
    PLAIN(cuGraphKernelNodeGetAttribute, cuGraphKernelNodeGetAttribute, 11000,                     \
          (CUgraphNode node, unsigned attribute, CUlaunchAttributeValue *value))                   \
    PLAIN(cuGraphMemcpyNodeGetParams, cuGraphMemcpyNodeGetParams, 10000,                           \
          (CUgraphNode node, void *parameters))                                                    \
    PLAIN(cuGraphMemsetNodeGetParams, cuGraphMemsetNodeGetParams, 10000,                           \
          (CUgraphNode node, void *parameters))                                                    \
    PLAIN(cuGraphNodeSetParams, cuGraphNodeSetParams, 12020,                                       \
          (CUgraphNode node, CUgraphNodeParams * parameters))                                      \
    PLAIN(cuGraphInstantiateWithFlags, cuGraphInstantiateWithFlags, 11040,                         \
          (CUgraphExec * exec, CUgraph graph, unsigned long long flags))                           \
    PLAIN(cuGraphInstantiate, cuGraphInstantiateWithFlags, 12000,                                  \
          (CUgraphExec * exec, CUgraph graph, unsigned long long flags))                           \
    STREAM(cuGraphInstantiateWithParams, cuGraphInstantiateWithParams,                             \
           cuGraphInstantiateWithParams_ptsz, 12000,                                               \
           (CUgraphExec * exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS * parameters),        \
           (exec, graph, parameters))                                                              \
    STREAM(cuGraphUpload, cuGraphUpload, cuGraphUpload_ptsz, 11010,                                \
           (CUgraphExec exec, CUstream stream), (exec, PT(stream)))                                \
    STREAM(cuGraphLaunch, cuGraphLaunch, cuGraphLaunch_ptsz, 10000,                                \
           (CUgraphExec exec, CUstream stream), (exec, PT(stream)))                                \
    PLAIN(cuGraphExecKernelNodeSetParams, cuGraphExecKernelNodeSetParams_v2, 12000,                \
          (CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *parameters))         \
    PLAIN(cuGraphExecUpdate, cuGraphExecUpdate_v2, 12000,                                          \
          (CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo * info))                   \
    PLAIN(cuGraphExecDestroy, cuGraphExecDestroy, 10000, (CUgraphExec exec))

#endif
