/* CUDA graphs that stay where they are, or go back. */
#include <sys/wait.h>

#include "graph_case.h"

/* The program changes its executable graph: only that has the change. */
static void a_graph_that_the_program_changes_stays_its_own(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us"), narrow = kernel("narrow_us");
    CUgraph graph = captured(wide, stream, KERNELS), other = captured(narrow, stream, KERNELS);
    CUgraphExec exec;
    uint64_t info[4];
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    resize(HALF, 1000);
    follows(64, exec, stream);
    OK(cuGraphExecUpdate_v2(exec, other, (void *)info));
    CHECK(cost(exec, stream) < 0.1 * on(132));
    pause_us(50000);
    CHECK(cost(exec, stream) < 0.1 * on(132));
}

static void a_node_that_the_program_changes_is_changed_in_what_runs(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraph graph = captured(kernel("wide_100us"), stream, 1);
    CUgraphNode node;
    size_t count = 1;
    CUDA_KERNEL_NODE_PARAMS parameters;
    CUgraphExec exec;
    OK(cuGraphGetNodes(graph, &node, &count));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    resize(HALF, 1000);
    for (int i = 0; i < 1000 && cost(exec, stream) < 0.15 * MS; i++)
        pause_us(1000);
    CHECK_NEAR(cost(exec, stream), 0.1 * MS * 132 / 64, 0.01 * MS);
    OK(cuGraphKernelNodeGetParams_v2(node, &parameters));
    parameters.func = kernel("narrow_ms");
    OK(cuGraphExecKernelNodeSetParams_v2(exec, node, &parameters));
    CHECK_NEAR(cost(exec, stream), MS, 0.01 * MS);
}

/* With launches in flight, and its handle used again. */
static void a_graph_is_destroyed_with_all_that_was_made_of_it(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    for (int i = 0; i < 12; i++) {
        resize(i % 2 ? HALF : QUARTER, 1000);
        CUgraphExec exec = executable(captured(wide, stream, KERNELS));
        resize(ALL, 1000);
        follows(132, exec, stream); /* three executable graphs are all the driver allows here */
        OK(cuGraphLaunch(exec, stream));
        OK(cuGraphExecDestroy(exec));
    }
    OK(cuStreamSynchronize(stream));
}

/* Nothing of ours comes between a capture and its end. */
static void nothing_is_made_while_a_stream_captures(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING), other = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraphExec exec = executable(captured(wide, stream, KERNELS));
    CUgraph graph;
    size_t nodes = 0;
    resize(HALF, 1000);
    OK(cuStreamBeginCapture_v2(other, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(launch(wide, other));
    stays(132, exec, stream);
    OK(cuStreamEndCapture(other, &graph));
    OK(cuGraphGetNodes(graph, NULL, &nodes));
    CHECK(nodes == 1);
    follows(64, exec, stream);
}

/* What it was made of may be gone; who launches it again says that it is there. */
static void after_an_unload_a_graph_is_made_once_it_is_launched_again(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    CUfunction narrow = kernel("narrow_ms");
    CUmodule other;
    OK(cuModuleLoadData(&other, image));
    pause_us(50000); /* until the helper thread counts the time */
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuModuleUnload(other));
    resize(HALF, 1000);
    pause_us(100000);
    OK(launch(narrow, stream)); /* so that a host that is held up is not in the time */
    CUevent begin = record(stream);
    OK(cuGraphLaunch(exec, stream));
    CHECK(between_ns(begin, record(stream)) < 0.8 * on(64));
    follows(64, exec, stream);
}

/* Launched into a capture it is the program's own, as the program sees its nodes. */
static void a_graph_launched_into_a_capture_is_the_programs_own(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    CUgraph graph;
    resize(HALF, 1000);
    follows(64, exec, stream);
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamEndCapture(stream, &graph));
    CUgraphExec outer = executable(graph);
    CHECK(is_on(132, outer, stream));
    follows(64, outer, stream);
}

/* One that has no copy, since it allocates, is priced by what it has inside. */
static void a_graph_in_a_capture_is_priced_by_its_own_sms(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUdeviceptr memory;
    CUgraph graph;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemAllocAsync(&memory, 4096, stream));
    OK(launch(kernel("wide_100us"), stream));
    OK(cuMemFreeAsync(memory, stream));
    OK(cuStreamEndCapture(stream, &graph));
    CUgraphExec inner = executable(graph);
    resize(HALF, 1000);
    OK(launch(kernel("wide_100us"), stream));
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuGraphLaunch(inner, stream));
    OK(cuStreamEndCapture(stream, &graph));
    CHECK_NEAR(charged(executable(graph), stream), 132, 0.5);
}
/* --- where it cannot be ---------------------------------------------------------------------- */

/* More is kept than is good: what was not used for longest goes, and is made again when needed. */
static void what_was_not_used_for_longest_goes_first(void)
{
    enum { MANY = 12, EMPTY = 2200 };
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraphExec execs[MANY];
    for (int i = 0; i < MANY; i++) {
        CUgraphNode node;
        CUgraph graph = captured(wide, stream, KERNELS);
        for (int k = 0; k < EMPTY; k++)
            OK(cuGraphAddEmptyNode(&node, graph, NULL, 0));
        execs[i] = executable(graph);
    }
    resize(HALF, 1000);
    for (int i = 0; i < MANY; i++) {
        follows(64, execs[i], stream);
        pause_us(50000);
    }
    CHECK(is_on(64, execs[MANY - 1], stream) && is_on(64, execs[MANY - 2], stream));
    CUevent begin = record(stream);
    OK(cuGraphLaunch(execs[0], stream));
    CHECK(between_ns(begin, record(stream)) < 0.8 * on(64));
    follows(64, execs[0], stream);
}

/* As many are refused as HAS_EMULATOR_FAULT says. */
static void a_graph_that_cannot_be_made_pays_with_time(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    resize(HALF, 1000);
    stays(132, exec, stream);
    CHECK_NEAR(charged(exec, stream), 132, 0.5);
    CHECK(slot()->throttled_ns > 0);
}

/* The driver refuses it below 60 SMs, at its launch: the program sees nothing of it. */
static void a_graph_that_cannot_be_launched_goes_back(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    resize(HALF, 1000);
    follows(64, exec, stream);
    resize(QUARTER, 1000);
    for (int i = 0; i < 2000 && is_on(64, exec, stream); i++)
        pause_us(1000);
    stays(132, exec, stream);
    CHECK_NEAR(charged(exec, stream), 132, 0.5);
    resize(HALF, 1000);
    follows(64, exec, stream);
}

/* All its blocks must fit at once, so it stays, and the graph is priced by it. */
static void a_cooperative_kernel_stays_where_it_was(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraph graph;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(launch(wide, stream));
    OK(cuLaunchCooperativeKernel(wide, 8 * H200_SMS, 1, 1, 256, 1, 1, 0, stream, NULL));
    OK(cuStreamEndCapture(stream, &graph));
    CUgraphExec exec = executable(graph);
    resize(HALF, 1000);
    double wanted = (0.1 * 132 / 64 + 0.1) * MS;
    for (int i = 0; i < 2000 && cost(exec, stream) < 0.97 * wanted; i++)
        pause_us(1000);
    CHECK_NEAR(cost(exec, stream), wanted, 0.03 * wanted);
    CHECK_NEAR(charged(exec, stream), 132, 0.5);
}

static void a_graph_inside_a_graph_moves_with_it(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraph inner = captured(kernel("wide_100us"), stream, KERNELS), outer;
    CUgraphNode node;
    OK(cuGraphCreate(&outer, 0));
    OK(cuGraphAddChildGraphNode(&node, outer, NULL, 0, inner));
    CUgraphExec exec = executable(outer);
    resize(HALF, 1000);
    follows(64, exec, stream);
    CHECK_NEAR(charged(exec, stream), 64, 0.5);
}

/* The device launches it by its handle. */
static void a_graph_for_the_device_to_launch_stays(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec;
    OK(cuGraphInstantiateWithFlags(&exec, captured(kernel("wide_100us"), stream, KERNELS), 4));
    resize(HALF, 1000);
    stays(132, exec, stream);
}

/* Ours is sent to the device otherwise: without parameters the driver refuses that flag. */
static void a_graph_that_is_uploaded_at_once_moves_too(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUDA_GRAPH_INSTANTIATE_PARAMS parameters = {.flags = 2, .hUploadStream = stream};
    CUgraphExec exec;
    CUgraph graph = captured(kernel("wide_100us"), stream, KERNELS);
    OK(cuGraphInstantiateWithParams(&exec, graph, &parameters));
    resize(HALF, 1000);
    follows(64, exec, stream);
}

/* A context of its own on 16 SMs: those are the program's choice. */
static void a_graph_on_sms_of_the_programs_choice_stays(void)
{
    start();
    CUdevResource whole, groups[2], rest;
    CUdevResourceDesc description;
    CUgreenCtx green;
    CUstream own, stream = new_stream(CU_STREAM_NON_BLOCKING);
    unsigned count = 2;
    OK(cuDeviceGetDevResource(0, &whole, CU_DEV_RESOURCE_TYPE_SM));
    OK(cuDevSmResourceSplitByCount(groups, &count, &whole, &rest, 0, 8));
    OK(cuDevResourceGenerateDesc(&description, groups, 2));
    OK(cuGreenCtxCreate(&green, description, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    OK(cuGreenCtxStreamCreate(&own, green, CU_STREAM_NON_BLOCKING, 0));
    CUgraphExec exec = executable(captured(kernel("wide_100us"), own, KERNELS));
    resize(HALF, 1000);
    stays(16, exec, stream);
}

/* Also while one is being made; the child's handles are copies that stand for nothing. */
static void a_fork_leaves_graphs_to_the_parent(void)
{
    enum { CHILDREN = 20 };
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    for (int i = 0; i < CHILDREN; i++) {
        write_limits(i % 2 ? QUARTER : HALF, 1000, 1ull << 40);
        OK(cuGraphLaunch(exec, stream));
        pause_us(150u * (unsigned)(i % 8));
        pid_t child = fork();
        if (child == 0) {
            alarm(10);
            cuGraphExecDestroy(exec); /* takes the lock that may have been held */
            _exit(0);
        }
        int status = 0;
        CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    }
    resize(HALF, 1000);
    follows(64, exec, stream);
}

MAIN(CASE(a_graph_that_the_program_changes_stays_its_own),
     CASE(a_node_that_the_program_changes_is_changed_in_what_runs),
     CASE(a_graph_is_destroyed_with_all_that_was_made_of_it),
     CASE(nothing_is_made_while_a_stream_captures),
     CASE(after_an_unload_a_graph_is_made_once_it_is_launched_again),
     CASE(a_graph_launched_into_a_capture_is_the_programs_own),
     CASE(a_graph_in_a_capture_is_priced_by_its_own_sms),
     CASE(what_was_not_used_for_longest_goes_first),
     CASE(a_graph_that_cannot_be_made_pays_with_time),
     CASE(a_graph_that_cannot_be_launched_goes_back),
     CASE(a_cooperative_kernel_stays_where_it_was), CASE(a_graph_inside_a_graph_moves_with_it),
     CASE(a_graph_for_the_device_to_launch_stays),
     CASE(a_graph_that_is_uploaded_at_once_moves_too),
     CASE(a_graph_on_sms_of_the_programs_choice_stays), CASE(a_fork_leaves_graphs_to_the_parent))
