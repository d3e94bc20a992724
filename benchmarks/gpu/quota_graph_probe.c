/* A graph's nodes, its runs, and the SMs it ran on, at the level of the driver: the half of
 * quota_graph_probe.py that is about any graph. Every function returns the driver's own result and
 * says in `probe_said` which call gave it; nothing here ends the process.
 */
#include "quota_graph_probe.h"

#define BLOCKS 1024
#define SPIN_NS 20000
#define LARGE_SHARED (100 << 10)

char probe_said[512];
CUcontext probe_context;
static CUgreenCtx green;
CUstream probe_stream;
static CUdeviceptr where_out;

int probe_primary(void)
{
    CUcontext primary;
    CUdevice device;
    TRY(cuInit(0));
    TRY(cuDeviceGet(&device, 0));
    TRY(cuDevicePrimaryCtxRetain(&primary, device));
    TRY(cuCtxSetCurrent(primary));
    return 0;
}

int probe_partition(unsigned sms, CUstream *stream, double *ms)
{
    CUdevResource whole, group, rest;
    CUdevResourceDesc description;
    CUdevice device;
    unsigned count = 1;
    TRY(cuDeviceGet(&device, 0));
    TRY(cuDeviceGetDevResource(device, &whole, CU_DEV_RESOURCE_TYPE_SM));
    TRY(cuDevSmResourceSplitByCount(&group, &count, &whole, &rest, 0, sms));
    TRY(cuDevResourceGenerateDesc(&description, &group, 1));
    ms[0] = now_ms();
    TRY(cuGreenCtxCreate(&green, description, device, CU_GREEN_CTX_DEFAULT_STREAM));
    ms[1] = now_ms();
    TRY(cuGreenCtxStreamCreate(&probe_stream, green, CU_STREAM_NON_BLOCKING, 0));
    ms[2] = now_ms();
    TRY(cuCtxFromGreenCtx(&probe_context, green));
    *stream = probe_stream;
    return 0;
}

/* --- what a graph is made of ---------------------------------------------------------------- */

enum { FUNC_ONLY, KERN_ONLY, BOTH, CTX_NULL, CTX_PRIMARY, CTX_GREEN, CTX_OTHER, EXTRA, LARGE,
       EDGES_WITH_DATA, MOST_DEPENDENCIES, FACTS };

int probe_dependencies(CUgraphNode node, CUgraphNode *before, CUgraphEdgeData *data, size_t *count)
{
    *count = 0;
    TRY(cuGraphNodeGetDependencies(node, NULL, NULL, count));
    if (*count > MOST_BEFORE)
        return 1;
    if (*count)
        TRY(cuGraphNodeGetDependencies(node, before, data, count));
    return 0;
}

static void note_kernel(const CUDA_KERNEL_NODE_PARAMS *kernel, int *facts)
{
    CUcontext primary = NULL;
    cuCtxGetCurrent(&primary);
    facts[FUNC_ONLY] += kernel->func && !kernel->kern;
    facts[KERN_ONLY] += !kernel->func && kernel->kern;
    facts[BOTH] += kernel->func && kernel->kern;
    facts[!kernel->ctx                   ? CTX_NULL
          : kernel->ctx == primary       ? CTX_PRIMARY
          : kernel->ctx == probe_context ? CTX_GREEN
                                         : CTX_OTHER]++;
    facts[EXTRA] += kernel->extra != NULL;
    facts[LARGE] += kernel->sharedMemBytes > 48 << 10;
}

int probe_nodes(CUgraph graph, int *types, int *facts)
{
    static CUgraphNode nodes[1 << 16], before[MOST_BEFORE];
    static CUgraphEdgeData data[MOST_BEFORE];
    size_t count = 1 << 16, many;
    TRY(cuGraphGetNodes(graph, nodes, &count));
    for (size_t i = 0; i < count; i++) {
        CUgraphNodeType type;
        CUDA_KERNEL_NODE_PARAMS kernel;
        TRY(cuGraphNodeGetType(nodes[i], &type));
        types[(int)type & 15]++;
        int failed = probe_dependencies(nodes[i], before, data, &many);
        if (failed)
            return failed;
        if ((int)many > facts[MOST_DEPENDENCIES])
            facts[MOST_DEPENDENCIES] = (int)many;
        for (size_t k = 0; k < many; k++)
            facts[EDGES_WITH_DATA] += data[k].type || data[k].from_port || data[k].to_port;
        if (type != CU_GRAPH_NODE_TYPE_KERNEL)
            continue;
        memset(&kernel, 0, sizeof kernel);
        TRY(cuGraphKernelNodeGetParams(nodes[i], &kernel));
        note_kernel(&kernel, facts);
    }
    return 0;
}

/* --- running -------------------------------------------------------------------------------- */

int probe_launch(CUgraphExec exec, CUstream stream, double *call_ms)
{
    double began = now_ms();
    TRY(cuGraphLaunch(exec, stream));
    *call_ms = now_ms() - began;
    TRY(cuStreamSynchronize(stream));
    return 0;
}

int probe_upload(CUgraphExec exec, CUstream stream, double *ms)
{
    double began = now_ms();
    TRY(cuGraphUpload(exec, stream));
    TRY(cuStreamSynchronize(stream));
    *ms = now_ms() - began;
    return 0;
}

int probe_time(CUgraphExec exec, CUstream stream, int rounds, double *ms)
{
    CUevent begin, end;
    float took = 0;
    TRY(cuEventCreate(&begin, 0));
    TRY(cuEventCreate(&end, 0));
    for (int i = 0; i < 3; i++)
        TRY(cuGraphLaunch(exec, stream));
    TRY(cuEventRecord(begin, stream));
    for (int i = 0; i < rounds; i++)
        TRY(cuGraphLaunch(exec, stream));
    TRY(cuEventRecord(end, stream));
    TRY(cuEventSynchronize(end));
    TRY(cuEventElapsedTime(&took, begin, end));
    *ms = (double)took / rounds;
    return 0;
}

int probe_destroy_in_flight(CUgraphExec exec, CUstream stream, double *ms)
{
    for (int i = 0; i < 20; i++)
        TRY(cuGraphLaunch(exec, stream));
    ms[0] = now_ms();
    TRY(cuGraphExecDestroy(exec));
    ms[1] = now_ms();
    TRY(cuStreamSynchronize(stream));
    ms[2] = now_ms();
    return 0;
}

/* Whether an executable graph takes another context for its nodes. */
int probe_exec_set(CUgraphExec exec, CUgraph original)
{
    CUgraphNode nodes[1 << 12];
    size_t count = 1 << 12;
    TRY(cuGraphGetNodes(original, nodes, &count));
    for (size_t i = 0; i < count; i++) {
        CUgraphNodeType type;
        CUDA_KERNEL_NODE_PARAMS kernel;
        TRY(cuGraphNodeGetType(nodes[i], &type));
        if (type != CU_GRAPH_NODE_TYPE_KERNEL)
            continue;
        memset(&kernel, 0, sizeof kernel);
        TRY(cuGraphKernelNodeGetParams(nodes[i], &kernel));
        int failed = probe_name_context(&kernel, 0);
        if (failed)
            return failed;
        TRY(cuGraphExecKernelNodeSetParams(exec, nodes[i], &kernel));
        return 0;
    }
    return -1;
}

int probe_exec_update(CUgraphExec exec, CUgraph other, int *why)
{
    CUgraphExecUpdateResultInfo info;
    memset(&info, 0, sizeof info);
    CUresult result = cuGraphExecUpdate(exec, other, &info);
    *why = (int)info.result;
    TRY(result);
    return 0;
}

/* --- a kernel that says which SMs it ran on ------------------------------------------------- */

static const char where_ptx[] =
    ".version 7.0\n.target sm_70\n.address_size 64\n"
    ".extern .shared .align 16 .b8 room[];\n"
    ".visible .entry where(.param .u64 out, .param .u32 ns)\n{\n"
    ".reg .u64 %a<8>;\n.reg .u32 %r<8>;\n.reg .pred %p<2>;\n"
    "ld.param.u64 %a1, [out];\ncvta.to.global.u64 %a1, %a1;\nld.param.u32 %r4, [ns];\n"
    "mov.u32 %r1, %ctaid.x;\nmul.wide.u32 %a2, %r1, 4;\nadd.u64 %a1, %a1, %a2;\n"
    "mov.u32 %r2, %smid;\nst.global.u32 [%a1], %r2;\n"
    "mov.u64 %a3, %globaltimer;\ncvt.u64.u32 %a4, %r4;\nadd.u64 %a4, %a4, %a3;\n"
    "again:\nmov.u64 %a5, %globaltimer;\nsetp.lt.u64 %p1, %a5, %a4;\n@%p1 bra again;\n"
    "ret;\n}\n";

/* 0 function of a module, 1 a library's kernel, 2 its function; + 3: with large shared memory. */
int probe_where_graph(int how, CUgraph *graph)
{
    CUmodule module;
    CUlibrary library;
    CUkernel kernel;
    CUfunction function;
    CUdevice device;
    CUstream stream;
    int large = how >= 3 ? LARGE_SHARED : 0;
    int attribute = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    unsigned ns = SPIN_NS, grid = large ? 256 : BLOCKS;
    void *arguments[] = {&where_out, &ns};
    TRY(cuDeviceGet(&device, 0));
    if (!where_out)
        TRY(cuMemAlloc(&where_out, BLOCKS * 4));
    if (how % 3 == 0) {
        TRY(cuModuleLoadData(&module, where_ptx));
        TRY(cuModuleGetFunction(&function, module, "where"));
    } else {
        TRY(cuLibraryLoadData(&library, where_ptx, NULL, NULL, 0, NULL, NULL, 0));
        TRY(cuLibraryGetKernel(&kernel, library, "where"));
        function = (CUfunction)kernel;
        if (how % 3 == 2)
            TRY(cuKernelGetFunction(&function, kernel));
    }
    if (large && how % 3 == 1)
        TRY(cuKernelSetAttribute(attribute, large, kernel, device));
    else if (large)
        TRY(cuFuncSetAttribute(function, attribute, large));
    TRY(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    TRY(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    TRY(cuMemsetD32Async(where_out, 0xffffffff, BLOCKS, stream));
    TRY(cuMemcpyDtoDAsync(where_out, where_out + 4 * (BLOCKS - 4), 16, stream));
    TRY(cuLaunchKernel(function, grid, 1, 1, 32, 1, 1, (unsigned)large, stream, arguments, NULL));
    TRY(cuStreamEndCapture(stream, graph));
    return 0;
}

int probe_where(CUgraphExec exec, CUstream stream, int *distinct)
{
    unsigned seen[BLOCKS];
    char there[4096] = {0};
    TRY(cuGraphLaunch(exec, stream));
    TRY(cuStreamSynchronize(stream));
    TRY(cuMemcpyDtoH(seen, where_out, sizeof seen));
    *distinct = 0;
    for (int i = 0; i < BLOCKS; i++)
        if (seen[i] < sizeof there && !there[seen[i]]++)
            (*distinct)++;
    return 0;
}

/* 0 a child graph around another, 1 with an allocation, 2 with a conditional node. */
int probe_special_graph(int which, CUgraph inner, CUgraph *graph)
{
    CUgraphNode node;
    CUstream stream;
    CUdeviceptr memory;
    if (which == 1) {
        TRY(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
        TRY(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
        TRY(cuMemAllocAsync(&memory, 1 << 20, stream));
        TRY(cuMemsetD32Async(memory, 0, 1 << 18, stream));
        TRY(cuMemFreeAsync(memory, stream));
        TRY(cuStreamEndCapture(stream, graph));
        return 0;
    }
    TRY(cuGraphCreate(graph, 0));
    if (which == 0) {
        TRY(cuGraphAddChildGraphNode(&node, *graph, NULL, 0, inner));
        return 0;
    }
    CUcontext current;
    CUgraphNodeParams all;
    memset(&all, 0, sizeof all);
    TRY(cuCtxGetCurrent(&current));
    all.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
    TRY(cuGraphConditionalHandleCreate(&all.conditional.handle, *graph, current, 0, 0));
    all.conditional.type = CU_GRAPH_COND_TYPE_IF;
    all.conditional.size = 1;
    all.conditional.ctx = current;
    TRY(cuGraphAddNode(&node, *graph, NULL, NULL, 0, &all));
    return 0;
}
