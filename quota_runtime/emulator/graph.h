/* Graphs: nodes in an order that respects their dependencies (each is added after those). */
#ifndef EMU_GRAPH_H
#define EMU_GRAPH_H

#include "objects.h"

struct CUgraphNode_st {
    CUgraphNodeType type;
    CUgraph graph;
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUcontext context; /* of a kernel: where it runs, whatever stream launches the graph */
    bool cooperative;
    double delay_ns;   /* copies and memsets */
    CUhostFn host;
    void *host_data;
    CUgraph child;
    CUgraphNode original; /* in the graph this one was cloned from */
    CUgraphNode *after;
    size_t after_count;
};

struct CUgraph_st {
    uint32_t kind;
    CUgraphNode *nodes;
    size_t count;
    size_t room;
};

CUgraph graph_new(void);
/* Append a node that runs after others; NULL when memory is short. */
CUgraphNode graph_add(CUgraph graph, CUgraphNodeType type, const CUgraphNode *after, size_t count);
bool graph_is(CUgraph graph);
/* Where a kernel node with these parameters runs. */
CUcontext graph_context_of(const CUDA_KERNEL_NODE_PARAMS *parameters);
/* Nodes with children counted one by one. */
size_t graph_flat_count(CUgraph graph);

#endif
