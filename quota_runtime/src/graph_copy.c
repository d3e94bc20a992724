/* Copies of graphs whose nodes can be placed on another partition.
 *
 * What the driver takes was tried on Hopper under driver 580: in a clone, the context of a kernel
 * node can be set where the node names a kernel, and the function of a module passes for one. An
 * executable graph takes no other context, a node that names a function keeps the one that is
 * current.
 */
#include <stdlib.h>
#include <string.h>

#include "graph_parts.h"
#include "real.h"
#include "sm.h"

#define FLAG_UPLOAD 2ull        /* needs a stream of the program */
#define FLAG_DEVICE_LAUNCH 4ull /* the device knows an executable graph by its handle */

static bool driver_can(void)
{
    return has_use.cuGraphClone && has_use.cuGraphGetNodes && has_use.cuGraphNodeGetType &&
           has_use.cuGraphKernelNodeGetParams_v2 && has_use.cuGraphKernelNodeSetParams_v2 &&
           has_use.cuGraphChildGraphNodeGetGraph && has_real.cuGraphInstantiateWithFlags;
}

static CUgraphNode *nodes_of(CUgraph graph, size_t *count)
{
    CUgraphNode *nodes = NULL;
    *count = 0;
    if (has_use.cuGraphGetNodes(graph, NULL, count) == CUDA_SUCCESS)
        nodes = malloc((*count + 1) * sizeof(CUgraphNode));
    if (nodes && has_use.cuGraphGetNodes(graph, nodes, count) == CUDA_SUCCESS)
        return nodes;
    free(nodes);
    return NULL;
}

/* --- what a graph is made of ----------------------------------------------------------------- */

#define NOWHERE (-4)

struct found {
    size_t nodes;
    int partition; /* of its kernels; HAS_MIXED: of several */
    uint32_t sms;
};

/* False where the program chose a context of its own. */
static bool find_kernel(CUgraphNode node, struct found *found)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    memset(&kernel, 0, sizeof kernel);
    has_use.cuGraphKernelNodeGetParams_v2(node, &kernel);
    int partition = has_sm_partition_of(kernel.ctx);
    if (partition < HAS_WHOLE)
        return false;
    uint32_t sms = has_partition_sms(partition);
    if (found->partition != NOWHERE && found->partition != partition)
        partition = HAS_MIXED;
    found->partition = partition;
    found->sms = sms > found->sms ? sms : found->sms;
    return true;
}

/* False for nodes that allow only one executable graph, or do what two of them must not both do. */
static bool find(CUgraph graph, struct found *found)
{
    size_t count;
    CUgraphNode *nodes = nodes_of(graph, &count);
    bool can = nodes;
    found->nodes += count;
    for (size_t i = 0; can && i < count; i++) {
        CUgraphNodeType type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
        CUgraph child;
        has_use.cuGraphNodeGetType(nodes[i], &type);
        if (type == CU_GRAPH_NODE_TYPE_KERNEL)
            can = find_kernel(nodes[i], found);
        else if (type == CU_GRAPH_NODE_TYPE_GRAPH)
            can = has_use.cuGraphChildGraphNodeGetGraph(nodes[i], &child) == CUDA_SUCCESS &&
                  find(child, found);
        else
            can = type == CU_GRAPH_NODE_TYPE_MEMCPY || type == CU_GRAPH_NODE_TYPE_MEMSET ||
                  type == CU_GRAPH_NODE_TYPE_HOST || type == CU_GRAPH_NODE_TYPE_EMPTY ||
                  type == CU_GRAPH_NODE_TYPE_WAIT_EVENT ||
                  type == CU_GRAPH_NODE_TYPE_EVENT_RECORD;
    }
    free(nodes);
    return can;
}

CUgraph has_graph_copy(CUgraph from, struct has_graph *graph)
{
    struct found found = {0, NOWHERE, 0};
    CUgraph copy = NULL;
    if (graph->flags & FLAG_DEVICE_LAUNCH || !driver_can() ||
        has_use.cuGraphClone(&copy, from) != CUDA_SUCCESS)
        return NULL;
    if (!find(copy, &found) || found.partition == NOWHERE) {
        has_real.cuGraphDestroy(copy);
        return NULL;
    }
    graph->nodes = found.nodes;
    graph->partition = found.partition;
    graph->sms = found.sms;
    return copy;
}

/* --- on another partition -------------------------------------------------------------------- */

/* All its blocks must fit at once, and nobody says how many do. */
static bool is_cooperative(CUgraphNode node)
{
    CUlaunchAttributeValue value;
    memset(&value, 0, sizeof value);
    return has_use.cuGraphKernelNodeGetAttribute &&
           has_use.cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, &value) ==
               CUDA_SUCCESS &&
           value.cooperative;
}

static bool place_kernel(CUgraphNode node, CUcontext context, uint32_t *sms)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    memset(&kernel, 0, sizeof kernel);
    if (has_use.cuGraphKernelNodeGetParams_v2(node, &kernel) != CUDA_SUCCESS)
        return false;
    if (is_cooperative(node)) {
        uint32_t its = has_partition_sms(has_sm_partition_of(kernel.ctx));
        *sms = its > *sms ? its : *sms;
        return true;
    }
    kernel.kern = kernel.kern ? kernel.kern : (CUkernel)kernel.func;
    kernel.func = NULL;
    kernel.ctx = context;
    return has_use.cuGraphKernelNodeSetParams_v2(node, &kernel) == CUDA_SUCCESS;
}

/* Copies and fills use few SMs or none: one that cannot be placed stays where it is. */
static void place_other(CUgraphNode node, CUgraphNodeType type, CUcontext context)
{
    CUgraphNodeParams all;
    memset(&all, 0, sizeof all);
    all.type = type;
    if (!has_use.cuGraphNodeSetParams || !has_use.cuGraphMemcpyNodeGetParams ||
        !has_use.cuGraphMemsetNodeGetParams)
        return;
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY) {
        if (has_use.cuGraphMemcpyNodeGetParams(node, &all.copy.parameters) != CUDA_SUCCESS)
            return;
        all.copy.ctx = context;
    } else if (type == CU_GRAPH_NODE_TYPE_MEMSET) {
        if (has_use.cuGraphMemsetNodeGetParams(node, &all.fill) != CUDA_SUCCESS)
            return;
        all.fill.ctx = context;
    } else {
        return;
    }
    has_use.cuGraphNodeSetParams(node, &all);
}

static bool place(CUgraph graph, CUcontext context, uint32_t *sms)
{
    size_t count;
    CUgraphNode *nodes = nodes_of(graph, &count);
    bool placed = nodes;
    for (size_t i = 0; placed && i < count; i++) {
        CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
        CUgraph child;
        has_use.cuGraphNodeGetType(nodes[i], &type);
        if (type == CU_GRAPH_NODE_TYPE_KERNEL)
            placed = place_kernel(nodes[i], context, sms);
        else if (type == CU_GRAPH_NODE_TYPE_GRAPH)
            placed = has_use.cuGraphChildGraphNodeGetGraph(nodes[i], &child) == CUDA_SUCCESS &&
                     place(child, context, sms);
        else
            place_other(nodes[i], type, context);
    }
    free(nodes);
    return placed;
}

CUgraphExec has_graph_place(struct has_graph *graph, int partition, uint32_t *sms)
{
    CUcontext context = has_sm_context_of(partition);
    CUgraphExec exec = NULL;
    CUgraph copy;
    /* A copy of the copy: nodes that stay where they are shall be where the program had them. */
    if (!context || has_use.cuGraphClone(&copy, graph->kept) != CUDA_SUCCESS)
        return NULL;
    *sms = has_partition_sms(partition);
    if (place(copy, context, sms) &&
        has_real.cuGraphInstantiateWithFlags(&exec, copy, graph->flags & ~FLAG_UPLOAD) !=
            CUDA_SUCCESS)
        exec = NULL;
    has_real.cuGraphDestroy(copy);
    return exec;
}
