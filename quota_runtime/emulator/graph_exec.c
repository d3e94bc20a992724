/* Executable graphs: the nodes one after the other on the launching stream, each kernel on the
 * SMs of its own context. Branches that could overlap do not. */
#include <pthread.h>
#include <stdlib.h>

#include "capture.h"
#include "entries.h"
#include "graph.h"
#include "launch.h"

#define UPLOAD 2ull /* a flag of the driver */

#define UPDATE_FAILURE ((CUresult)910) /* CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE */
#define UPDATE_ERROR 1
#define UPDATE_TOPOLOGY_CHANGED 2
#define UPDATE_NODE_TYPE_CHANGED 3
#define UPDATE_UNSUPPORTED_FUNCTION_CHANGE 7

struct step {
    CUgraphNode node; /* only compared: its graph may be gone */
    CUgraphNodeType type;
    CUcontext context;
    CUDA_KERNEL_NODE_PARAMS kernel;
    bool cooperative;
    double delay_ns;
    CUhostFn host;
    void *host_data;
};

struct CUgraphExec_st {
    uint32_t kind;
    uint32_t queue; /* of the last launch, and what the queue has done when that is over */
    uint64_t target;
    pthread_mutex_t launching;
    size_t count;
    struct step steps[];
};

struct CUgraphExecUpdateResultInfo_st {
    int result;
    CUgraphNode error_node;
    CUgraphNode error_from_node;
};

static unsigned long live; /* executable graphs */

static size_t flatten(CUgraph graph, struct step *steps)
{
    size_t made = 0;
    for (size_t i = 0; i < graph->count; i++) {
        CUgraphNode node = graph->nodes[i];
        if (node->child)
            made += flatten(node->child, steps + made);
        else
            steps[made++] =
                (struct step){node,           node->type, node->context,  node->kernel,
                              node->cooperative, node->delay_ns, node->host, node->host_data};
    }
    return made;
}

static CUgraphExec new_exec(CUgraph graph)
{
    size_t count = graph_flat_count(graph);
    CUgraphExec exec = malloc(sizeof *exec + count * sizeof exec->steps[0]);
    if (!exec)
        return NULL;
    exec->kind = KIND_EXEC;
    __atomic_fetch_add(&live, 1, __ATOMIC_ACQ_REL);
    exec->target = 0;
    pthread_mutex_init(&exec->launching, NULL);
    exec->count = flatten(graph, exec->steps);
    return exec;
}

static bool exec_is(CUgraphExec exec)
{
    return exec && exec->kind == KIND_EXEC;
}

static CUresult instantiate(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    if (!exec || !graph_is(graph) || flags > 15)
        return CUDA_ERROR_INVALID_VALUE;
    fault_slow(SLOW_INSTANTIATE);
    bool may = !fault_due(FAULT_INSTANTIATE) &&
               __atomic_load_n(&live, __ATOMIC_ACQUIRE) < fault_graphs();
    *exec = may ? new_exec(graph) : NULL;
    return *exec ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* It has no stream to upload on. */
CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long flags)
{
    return flags & UPLOAD ? CUDA_ERROR_INVALID_VALUE : instantiate(exec, graph, flags);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec *exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS *parameters)
{
    if (!parameters)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = instantiate(exec, graph, parameters->flags);
    parameters->hErrNode_out = NULL;
    parameters->result_out = result == CUDA_SUCCESS ? 0 : 1;
    return result;
}

CUresult cuGraphExecDestroy(CUgraphExec exec)
{
    if (!exec_is(exec))
        return CUDA_ERROR_INVALID_VALUE;
    exec->kind = 0;
    free(exec);
    __atomic_fetch_sub(&live, 1, __ATOMIC_ACQ_REL);
    return CUDA_SUCCESS;
}

CUresult cuGraphUpload(CUgraphExec exec, CUstream handle)
{
    CUstream stream;
    return exec_is(exec) ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
}

static CUresult submit(CUstream stream, const struct step *step)
{
    switch (step->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL:
        if (!context_is_live(step->context))
            return CUDA_ERROR_CONTEXT_IS_DESTROYED;
        stream_submit(stream, kernel_op(&step->kernel, &step->context->sms));
        return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_HOST:
        return host_submit(stream, step->host, step->host_data);
    case CU_GRAPH_NODE_TYPE_MEMCPY:
    case CU_GRAPH_NODE_TYPE_MEMSET:
        stream_submit(stream, engine_delay(step->delay_ns));
        return CUDA_SUCCESS;
    default:
        return CUDA_SUCCESS;
    }
}

/* A graph launched while capturing becomes part of what is captured. */
static CUresult capture_step(CUstream stream, const struct step *step)
{
    switch (step->type) {
    case CU_GRAPH_NODE_TYPE_KERNEL: {
        CUresult result = capture_kernel(stream, &step->kernel, step->cooperative);
        if (result == CUDA_SUCCESS)
            stream->captured->context = step->context;
        return result;
    }
    case CU_GRAPH_NODE_TYPE_HOST:
        return capture_host(stream, step->host, step->host_data);
    default:
        return capture_delay(stream, step->type, step->delay_ns);
    }
}

static bool all_fit(CUgraphExec exec)
{
    int least = fault_graph_sms();
    for (size_t i = 0; least && i < exec->count; i++)
        if (exec->steps[i].type == CU_GRAPH_NODE_TYPE_KERNEL &&
            sm_set_size(&exec->steps[i].context->sms) < least)
            return false;
    return true;
}

/* Launches of one executable graph come one after the other, whatever streams they are on. */
static CUresult launch(CUgraphExec exec, CUstream stream)
{
    CUresult result = CUDA_SUCCESS;
    pthread_mutex_lock(&exec->launching);
    if (exec->target && exec->queue != stream->queue)
        stream_submit(stream, (struct emu_op){
                                  .kind = OP_WAIT, .index = exec->queue, .target = exec->target});
    for (size_t i = 0; result == CUDA_SUCCESS && i < exec->count; i++)
        result = submit(stream, &exec->steps[i]);
    exec->queue = stream->queue;
    exec->target = stream_submit(stream, engine_delay(0));
    pthread_mutex_unlock(&exec->launching);
    return result;
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream handle)
{
    CUstream stream;
    CUresult result = exec_is(exec) ? stream_resolve(handle, &stream) : CUDA_ERROR_INVALID_VALUE;
    fault_slow(SLOW_GRAPH_LAUNCH);
    if (result == CUDA_SUCCESS && fault_due(FAULT_LAUNCH))
        result = CUDA_ERROR_LAUNCH_FAILED;
    if (result == CUDA_SUCCESS && !all_fit(exec))
        result = CUDA_ERROR_INVALID_CLUSTER_SIZE;
    if (result == CUDA_SUCCESS && !stream->capture)
        return launch(exec, stream);
    for (size_t i = 0; result == CUDA_SUCCESS && i < exec->count; i++)
        result = capture_step(stream, &exec->steps[i]);
    return result;
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS *parameters)
{
    CUresult result = exec_is(exec) && node && parameters ? kernel_check(parameters)
                                                          : CUDA_ERROR_INVALID_VALUE;
    for (size_t i = 0; result == CUDA_SUCCESS && i < exec->count; i++) {
        struct step *step = &exec->steps[i];
        if (step->node != node)
            continue;
        if (step->type != CU_GRAPH_NODE_TYPE_KERNEL ||
            (!parameters->func && parameters->ctx && parameters->ctx != step->context))
            return CUDA_ERROR_INVALID_VALUE;
        step->kernel = *parameters;
        return CUDA_SUCCESS;
    }
    return result == CUDA_SUCCESS ? CUDA_ERROR_INVALID_VALUE : result;
}

static int compare(CUgraphExec exec, CUgraphExec wanted, size_t *at)
{
    *at = 0;
    if (exec->count != wanted->count)
        return UPDATE_TOPOLOGY_CHANGED;
    for (size_t i = 0; i < exec->count; i++) {
        *at = i;
        if (exec->steps[i].type != wanted->steps[i].type)
            return UPDATE_NODE_TYPE_CHANGED;
        if (exec->steps[i].context != wanted->steps[i].context)
            return UPDATE_UNSUPPORTED_FUNCTION_CHANGE; /* the owning context cannot change */
    }
    return 0;
}

/* Steps keep the nodes they were made from: those are how the program names them. */
CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph, CUgraphExecUpdateResultInfo *info)
{
    if (!exec_is(exec) || !graph_is(graph) || !info)
        return CUDA_ERROR_INVALID_VALUE;
    CUgraphExec wanted = new_exec(graph);
    if (!wanted)
        return CUDA_ERROR_OUT_OF_MEMORY;
    size_t at;
    *info = (CUgraphExecUpdateResultInfo){.result = compare(exec, wanted, &at)};
    if (info->result > UPDATE_ERROR && at < wanted->count)
        info->error_node = wanted->steps[at].node;
    for (size_t i = 0; info->result == 0 && i < exec->count; i++) {
        CUgraphNode node = exec->steps[i].node;
        exec->steps[i] = wanted->steps[i];
        exec->steps[i].node = node;
    }
    cuGraphExecDestroy(wanted);
    return info->result == 0 ? CUDA_SUCCESS : UPDATE_FAILURE;
}
