/* Graphs and their nodes. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "launch.h"

CUgraph graph_new(void)
{
    CUgraph graph = calloc(1, sizeof *graph);
    if (graph)
        graph->kind = KIND_GRAPH;
    return graph;
}

bool graph_is(CUgraph graph)
{
    return graph && graph->kind == KIND_GRAPH;
}

static bool make_room(CUgraph graph)
{
    if (graph->count < graph->room)
        return true;
    size_t room = graph->room ? graph->room * 2 : 64;
    CUgraphNode *nodes = realloc(graph->nodes, room * sizeof(CUgraphNode));
    if (!nodes)
        return false;
    graph->nodes = nodes;
    graph->room = room;
    return true;
}

CUgraphNode graph_add(CUgraph graph, CUgraphNodeType type, const CUgraphNode *after, size_t count)
{
    CUgraphNode node = make_room(graph) ? calloc(1, sizeof *node) : NULL;
    CUgraphNode *own = node ? calloc(count + 1, sizeof(CUgraphNode)) : NULL;
    if (!own) {
        free(node);
        return NULL;
    }
    if (count)
        memcpy(own, after, count * sizeof(CUgraphNode));
    node->type = type;
    node->graph = graph;
    node->after = own;
    node->after_count = count;
    graph->nodes[graph->count++] = node;
    return node;
}

CUcontext graph_context_of(const CUDA_KERNEL_NODE_PARAMS *parameters)
{
    return !parameters->func && parameters->ctx ? parameters->ctx : context_current();
}

size_t graph_flat_count(CUgraph graph)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->count; i++)
        count += graph->nodes[i]->child ? graph_flat_count(graph->nodes[i]->child) : 1;
    return count;
}

CUresult cuGraphCreate(CUgraph *graph, unsigned flags)
{
    if (!graph || flags)
        return CUDA_ERROR_INVALID_VALUE;
    *graph = graph_new();
    return *graph ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphDestroy(CUgraph graph)
{
    if (!graph_is(graph))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < graph->count; i++) {
        if (graph->nodes[i]->child)
            cuGraphDestroy(graph->nodes[i]->child);
        free(graph->nodes[i]->after);
        free(graph->nodes[i]);
    }
    free(graph->nodes);
    graph->kind = 0;
    free(graph);
    return CUDA_SUCCESS;
}

CUresult cuGraphNodeFindInClone(CUgraphNode *found, CUgraphNode original, CUgraph clone)
{
    if (!found || !original || !graph_is(clone))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < clone->count; i++)
        if (clone->nodes[i]->original == original) {
            *found = clone->nodes[i];
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult clone_node(CUgraph clone, CUgraphNode original)
{
    CUgraphNode node = graph_add(clone, original->type, original->after, original->after_count);
    if (!node)
        return CUDA_ERROR_OUT_OF_MEMORY;
    CUgraphNode *after = node->after;
    *node = *original;
    node->after = after;
    node->graph = clone;
    node->original = original;
    node->child = NULL;
    for (size_t i = 0; i < node->after_count; i++)
        cuGraphNodeFindInClone(&after[i], original->after[i], clone);
    return original->child ? cuGraphClone(&node->child, original->child) : CUDA_SUCCESS;
}

static bool can_be_cloned(CUgraph graph)
{
    for (size_t i = 0; i < graph->count; i++) {
        CUgraphNodeType type = graph->nodes[i]->type;
        if (type == CU_GRAPH_NODE_TYPE_MEM_ALLOC || type == CU_GRAPH_NODE_TYPE_MEM_FREE ||
            type == CU_GRAPH_NODE_TYPE_CONDITIONAL)
            return false;
    }
    return true;
}

CUresult cuGraphClone(CUgraph *clone, CUgraph original)
{
    if (!clone || !graph_is(original))
        return CUDA_ERROR_INVALID_VALUE;
    if (!can_be_cloned(original))
        return CUDA_ERROR_NOT_SUPPORTED;
    CUgraph made = graph_new();
    CUresult result = made ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; result == CUDA_SUCCESS && i < original->count; i++)
        result = clone_node(made, original->nodes[i]);
    if (result == CUDA_SUCCESS)
        *clone = made;
    else if (made)
        cuGraphDestroy(made);
    return result;
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    if (!graph_is(graph) || !count)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; nodes && i < *count; i++)
        nodes[i] = i < graph->count ? graph->nodes[i] : NULL;
    if (!nodes || *count > graph->count)
        *count = graph->count;
    return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode *after, size_t *count)
{
    if (!node || !count)
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; after && i < *count; i++)
        after[i] = i < node->after_count ? node->after[i] : NULL;
    if (!after || *count > node->after_count)
        *count = node->after_count;
    return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type)
{
    if (!node || !type)
        return CUDA_ERROR_INVALID_VALUE;
    *type = node->type;
    return CUDA_SUCCESS;
}

static CUresult add(CUgraphNode *made, CUgraph graph, CUgraphNodeType type,
                    const CUgraphNode *after, size_t count)
{
    if (!made || !graph_is(graph) || (count && !after))
        return CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; i < count; i++)
        if (!after[i] || after[i]->graph != graph)
            return CUDA_ERROR_INVALID_VALUE;
    *made = graph_add(graph, type, after, count);
    return *made ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult cuGraphAddKernelNode_v2(CUgraphNode *made, CUgraph graph, const CUgraphNode *after,
                                 size_t count, const CUDA_KERNEL_NODE_PARAMS *parameters)
{
    CUresult result = parameters ? kernel_check(parameters) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    CUcontext context = graph_context_of(parameters);
    if (!context_is_live(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    result = add(made, graph, CU_GRAPH_NODE_TYPE_KERNEL, after, count);
    if (result == CUDA_SUCCESS) {
        (*made)->kernel = *parameters;
        (*made)->context = context;
    }
    return result;
}

CUresult cuGraphAddEmptyNode(CUgraphNode *made, CUgraph graph, const CUgraphNode *after,
                             size_t count)
{
    return add(made, graph, CU_GRAPH_NODE_TYPE_EMPTY, after, count);
}

CUresult cuGraphAddChildGraphNode(CUgraphNode *made, CUgraph graph, const CUgraphNode *after,
                                  size_t count, CUgraph child)
{
    CUgraph clone;
    CUresult result = cuGraphClone(&clone, child);
    if (result != CUDA_SUCCESS)
        return result;
    result = add(made, graph, CU_GRAPH_NODE_TYPE_GRAPH, after, count);
    if (result == CUDA_SUCCESS)
        (*made)->child = clone;
    else
        cuGraphDestroy(clone);
    return result;
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph *graph)
{
    if (!node || !graph || !node->child)
        return CUDA_ERROR_INVALID_VALUE;
    *graph = node->child;
    return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS *parameters)
{
    if (!node || !parameters || node->type != CU_GRAPH_NODE_TYPE_KERNEL)
        return CUDA_ERROR_INVALID_VALUE;
    *parameters = node->kernel;
    parameters->func = kernel_of(&node->kernel);
    parameters->kern = parameters->func->module->library ? (CUkernel)parameters->func : NULL;
    parameters->ctx = node->context;
    return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode node, unsigned attribute,
                                       CUlaunchAttributeValue *value)
{
    if (!node || !value || node->type != CU_GRAPH_NODE_TYPE_KERNEL)
        return CUDA_ERROR_INVALID_VALUE;
    memset(value, 0, sizeof *value);
    value->cooperative = attribute == CU_LAUNCH_ATTRIBUTE_COOPERATIVE && node->cooperative;
    return CUDA_SUCCESS;
}

/* How much is copied or filled is not kept, so parameters are empty but for the context. */
CUresult cuGraphMemcpyNodeGetParams(CUgraphNode node, void *parameters)
{
    if (!node || !parameters || node->type != CU_GRAPH_NODE_TYPE_MEMCPY)
        return CUDA_ERROR_INVALID_VALUE;
    memset(parameters, 0, sizeof((CUgraphNodeParams *)NULL)->copy.parameters);
    return CUDA_SUCCESS;
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode node, void *parameters)
{
    if (!node || !parameters || node->type != CU_GRAPH_NODE_TYPE_MEMSET)
        return CUDA_ERROR_INVALID_VALUE;
    memset(parameters, 0, offsetof(CUgraphNodeParams, fill.ctx) - offsetof(CUgraphNodeParams, fill));
    return CUDA_SUCCESS;
}

CUresult cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams *parameters)
{
    if (!node || !parameters || parameters->type != node->type)
        return CUDA_ERROR_INVALID_VALUE;
    bool is_copy = node->type == CU_GRAPH_NODE_TYPE_MEMCPY;
    if (!is_copy && node->type != CU_GRAPH_NODE_TYPE_MEMSET)
        return CUDA_ERROR_NOT_SUPPORTED;
    CUcontext context = is_copy ? parameters->copy.ctx : parameters->fill.ctx;
    if (!context_is_live(context))
        return CUDA_ERROR_INVALID_CONTEXT;
    node->context = context;
    return CUDA_SUCCESS;
}

/* Here the context may be another one, as in a clone on a real GPU; of a kernel, or of a module's
 * function that is passed as one. */
CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *parameters)
{
    if (!node || !parameters || node->type != CU_GRAPH_NODE_TYPE_KERNEL)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = kernel_check(parameters);
    if (result == CUDA_SUCCESS && !context_is_live(graph_context_of(parameters)))
        result = CUDA_ERROR_INVALID_CONTEXT;
    if (result == CUDA_SUCCESS) {
        node->kernel = *parameters;
        node->context = graph_context_of(parameters);
    }
    return result;
}
