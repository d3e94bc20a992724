/* Ways of rebuilding a captured graph for another SM partition; see quota_graph_probe.py. */
#include "quota_graph_probe.h"

int probe_others_refused;
char probe_other_said[512];

/* --- ways ----------------------------------------------------------------------------------- */

enum { CLONE_KERN, CLONE_KERNEL_FUNCTION, CLONE_GENERIC, CLONE_ONLY, ADD_KERN, ADD_GENERIC,
       ADD_FUNC_CURRENT, ADD_KERNEL_FUNCTION, RECAPTURE, CLONE_FUNC_AS_KERN, ADD_FUNC_AS_KERN };

int probe_name_context(CUDA_KERNEL_NODE_PARAMS *kernel, int as_kern)
{
    if (as_kern && kernel->func)
        kernel->kern = (CUkernel)kernel->func;
    if (!kernel->kern) {
        snprintf(probe_said, sizeof probe_said, "node names a function and no kernel");
        return -1;
    }
    kernel->func = NULL;
    kernel->ctx = probe_context;
    return 0;
}

static int function_there(CUDA_KERNEL_NODE_PARAMS *kernel)
{
    if (!kernel->kern) {
        snprintf(probe_said, sizeof probe_said, "node names a function and no kernel");
        return -1;
    }
    TRY(cuCtxPushCurrent(probe_context));
    CUresult result = cuKernelGetFunction(&kernel->func, kernel->kern);
    cuCtxPopCurrent(NULL);
    TRY(result);
    kernel->kern = NULL;
    kernel->ctx = NULL;
    return 0;
}

static void generic(CUgraphNodeParams *all, const CUDA_KERNEL_NODE_PARAMS *kernel)
{
    memset(all, 0, sizeof *all);
    all->type = CU_GRAPH_NODE_TYPE_KERNEL;
    all->kernel.func = kernel->func;
    all->kernel.gridDimX = kernel->gridDimX;
    all->kernel.gridDimY = kernel->gridDimY;
    all->kernel.gridDimZ = kernel->gridDimZ;
    all->kernel.blockDimX = kernel->blockDimX;
    all->kernel.blockDimY = kernel->blockDimY;
    all->kernel.blockDimZ = kernel->blockDimZ;
    all->kernel.sharedMemBytes = kernel->sharedMemBytes;
    all->kernel.kernelParams = kernel->kernelParams;
    all->kernel.extra = kernel->extra;
    all->kernel.kern = kernel->kern;
    all->kernel.ctx = kernel->ctx;
}

/* Copies and fills of a clone: those name a context too, but only through the newer call. */
static int place_other(CUgraphNode node, CUgraphNodeType type)
{
    CUgraphNodeParams all;
    memset(&all, 0, sizeof all);
    all.type = type;
    if (type == CU_GRAPH_NODE_TYPE_MEMCPY) {
        TRY(cuGraphMemcpyNodeGetParams(node, &all.memcpy.copyParams));
        all.memcpy.copyCtx = probe_context;
    } else if (type == CU_GRAPH_NODE_TYPE_MEMSET) {
        CUDA_MEMSET_NODE_PARAMS fill;
        TRY(cuGraphMemsetNodeGetParams(node, &fill));
        all.memset.dst = fill.dst;
        all.memset.pitch = fill.pitch;
        all.memset.value = fill.value;
        all.memset.elementSize = fill.elementSize;
        all.memset.width = fill.width;
        all.memset.height = fill.height;
        all.memset.ctx = probe_context;
    } else {
        return 0;
    }
    TRY(cuGraphNodeSetParams(node, &all));
    return 0;
}

static int clone_in(int way, CUgraph graph)
{
    size_t count = 0;
    TRY(cuGraphGetNodes(graph, NULL, &count));
    CUgraphNode *nodes = malloc(count * sizeof *nodes);
    TRY(cuGraphGetNodes(graph, nodes, &count));
    for (size_t i = 0; i < count && way != CLONE_ONLY; i++) {
        CUgraphNodeType type;
        CUDA_KERNEL_NODE_PARAMS kernel;
        CUgraphNodeParams all;
        CUgraph child;
        int failed = 0;
        TRY(cuGraphNodeGetType(nodes[i], &type));
        if (type == CU_GRAPH_NODE_TYPE_GRAPH) {
            TRY(cuGraphChildGraphNodeGetGraph(nodes[i], &child));
            failed = clone_in(way, child);
        } else if (type != CU_GRAPH_NODE_TYPE_KERNEL) {
            /* Noted, and the way goes on: kernels matter more. */
            if (place_other(nodes[i], type)) {
                probe_others_refused++;
                memcpy(probe_other_said, probe_said, sizeof probe_said);
            }
        } else {
            memset(&kernel, 0, sizeof kernel);
            TRY(cuGraphKernelNodeGetParams(nodes[i], &kernel));
            failed = way == CLONE_KERNEL_FUNCTION
                         ? function_there(&kernel)
                         : probe_name_context(&kernel, way == CLONE_FUNC_AS_KERN);
        }
        if (failed)
            return failed;
        if (type != CU_GRAPH_NODE_TYPE_KERNEL)
            continue;
        generic(&all, &kernel);
        if (way == CLONE_GENERIC)
            TRY(cuGraphNodeSetParams(nodes[i], &all));
        else
            TRY(cuGraphKernelNodeSetParams(nodes[i], &kernel));
    }
    free(nodes);
    return 0;
}

static int add_kernel(int way, CUgraph graph, CUgraphNode old, const CUgraphNode *before,
                      const CUgraphEdgeData *data, size_t count, CUgraphNode *made)
{
    CUDA_KERNEL_NODE_PARAMS kernel;
    CUgraphNodeParams all;
    int failed = 0;
    memset(&kernel, 0, sizeof kernel);
    TRY(cuGraphKernelNodeGetParams(old, &kernel));
    if (way == ADD_KERN || way == ADD_GENERIC || way == ADD_FUNC_AS_KERN)
        failed = probe_name_context(&kernel, way == ADD_FUNC_AS_KERN);
    else if (way == ADD_KERNEL_FUNCTION)
        failed = function_there(&kernel);
    if (failed)
        return failed;
    if (way == RECAPTURE) {
        const CUgraphNode *last = NULL;
        size_t many = 0;
        CUstreamCaptureStatus status;
        CUfunction function = kernel.func ? kernel.func : (CUfunction)kernel.kern;
        TRY(cuStreamUpdateCaptureDependencies(probe_stream, (CUgraphNode *)before, data, count,
                                              CU_STREAM_SET_CAPTURE_DEPENDENCIES));
        TRY(cuLaunchKernel(function, kernel.gridDimX, kernel.gridDimY, kernel.gridDimZ,
                           kernel.blockDimX, kernel.blockDimY, kernel.blockDimZ,
                           kernel.sharedMemBytes, probe_stream, kernel.kernelParams,
                           kernel.extra));
        TRY(cuStreamGetCaptureInfo(probe_stream, &status, NULL, NULL, &last, NULL, &many));
        *made = many == 1 ? last[0] : NULL;
    } else if (way == ADD_GENERIC) {
        generic(&all, &kernel);
        TRY(cuGraphAddNode(made, graph, before, data, count, &all));
    } else {
        if (way == ADD_FUNC_CURRENT)
            kernel.kern = NULL, kernel.ctx = NULL;
        TRY(cuGraphAddKernelNode(made, graph, NULL, 0, &kernel));
    }
    TRY(cuGraphKernelNodeCopyAttributes(*made, old));
    for (size_t k = 0; way != RECAPTURE && way != ADD_GENERIC && k < count; k++)
        TRY(cuGraphAddDependencies(graph, &before[k], made, &data[k], 1));
    return 0;
}

static int add_other(CUgraph graph, CUgraphNode old, CUgraphNodeType type, CUgraphNode *made)
{
    CUDA_MEMCPY3D copy;
    CUDA_MEMSET_NODE_PARAMS fill;
    CUDA_HOST_NODE_PARAMS host;
    switch (type) {
    case CU_GRAPH_NODE_TYPE_MEMCPY:
        TRY(cuGraphMemcpyNodeGetParams(old, &copy));
        TRY(cuGraphAddMemcpyNode(made, graph, NULL, 0, &copy, probe_context));
        return 0;
    case CU_GRAPH_NODE_TYPE_MEMSET:
        TRY(cuGraphMemsetNodeGetParams(old, &fill));
        TRY(cuGraphAddMemsetNode(made, graph, NULL, 0, &fill, probe_context));
        return 0;
    case CU_GRAPH_NODE_TYPE_HOST:
        TRY(cuGraphHostNodeGetParams(old, &host));
        TRY(cuGraphAddHostNode(made, graph, NULL, 0, &host));
        return 0;
    case CU_GRAPH_NODE_TYPE_EMPTY:
        TRY(cuGraphAddEmptyNode(made, graph, NULL, 0));
        return 0;
    default:
        snprintf(probe_said, sizeof probe_said, "node of type %d is not rebuilt", (int)type);
        return -1;
    }
}

static int add_one(int way, CUgraph graph, CUgraphNode old, const CUgraphNode *before,
                   const CUgraphEdgeData *data, size_t count, CUgraphNode *made)
{
    CUgraphNodeType type;
    TRY(cuGraphNodeGetType(old, &type));
    if (type == CU_GRAPH_NODE_TYPE_KERNEL)
        return add_kernel(way, graph, old, before, data, count, made);
    int failed = add_other(graph, old, type, made);
    for (size_t k = 0; !failed && k < count; k++)
        TRY(cuGraphAddDependencies(graph, &before[k], made, &data[k], 1));
    return failed;
}

static size_t place_of(CUgraphNode node, const CUgraphNode *nodes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (nodes[i] == node)
            return i;
    return count;
}

/* Nodes in any order that has each after those it depends on. */
static int add_all(int way, CUgraph original, CUgraph graph)
{
    size_t count = 0, left, did = 1;
    TRY(cuGraphGetNodes(original, NULL, &count));
    CUgraphNode *nodes = malloc(count * sizeof *nodes), *made = calloc(count + 1, sizeof *made);
    CUgraphNode before[MOST_BEFORE];
    CUgraphEdgeData data[MOST_BEFORE];
    TRY(cuGraphGetNodes(original, nodes, &count));
    for (left = count; left && did; left -= did) {
        did = 0;
        for (size_t i = 0; i < count; i++) {
            size_t many, ready = 0;
            if (made[i])
                continue;
            int failed = probe_dependencies(nodes[i], before, data, &many);
            for (size_t k = 0; k < many && !failed; k++) {
                before[k] = made[place_of(before[k], nodes, count)];
                ready += before[k] != NULL;
            }
            if (!failed && ready < many)
                continue;
            failed = failed || add_one(way, graph, nodes[i], before, data, many, &made[i]);
            if (failed)
                return failed;
            did++;
        }
    }
    free(nodes);
    free(made);
    return left ? 1 : 0;
}

int probe_rebuild(int way, CUgraph original, CUgraph *graph, double *ms)
{
    CUgraph captured = NULL;
    int failed;
    double began = now_ms();
    strcpy(probe_said, "");
    probe_others_refused = 0;
    if (way <= CLONE_ONLY || way == CLONE_FUNC_AS_KERN) {
        TRY(cuGraphClone(graph, original));
        ms[0] = now_ms() - began;
        failed = clone_in(way, *graph);
    } else if (way == RECAPTURE) {
        CUstreamCaptureStatus status;
        TRY(cuStreamBeginCapture(probe_stream, CU_STREAM_CAPTURE_MODE_RELAXED));
        TRY(cuStreamGetCaptureInfo(probe_stream, &status, NULL, &captured, NULL, NULL, NULL));
        failed = add_all(way, original, captured);
        CUresult ended = cuStreamUpdateCaptureDependencies(probe_stream, NULL, NULL, 0,
                                                           CU_STREAM_SET_CAPTURE_DEPENDENCIES);
        CUresult end = cuStreamEndCapture(probe_stream, graph);
        if (!failed)
            TRY(ended);
        if (!failed)
            TRY(end);
    } else {
        TRY(cuGraphCreate(graph, 0));
        if (way == ADD_FUNC_CURRENT)
            TRY(cuCtxPushCurrent(probe_context));
        failed = add_all(way, original, *graph);
        if (way == ADD_FUNC_CURRENT)
            cuCtxPopCurrent(NULL);
    }
    ms[1] = now_ms() - began;
    return failed;
}

int probe_instantiate(CUgraph graph, int with_current, CUgraphExec *exec, double *ms)
{
    double began = now_ms();
    strcpy(probe_said, "");
    if (with_current)
        TRY(cuCtxPushCurrent(probe_context));
    CUresult result = cuGraphInstantiate(exec, graph, 0);
    if (with_current)
        cuCtxPopCurrent(NULL);
    *ms = now_ms() - began;
    TRY(result);
    return 0;
}

