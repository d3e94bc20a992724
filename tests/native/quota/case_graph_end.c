/* CUDA graphs that stay where they are, or go back. */
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
    for (int i = 0; i < 30; i++) {
        resize(i % 2 ? HALF : QUARTER, 1000);
        CUgraphExec exec = executable(captured(wide, stream, KERNELS));
        resize(ALL, 1000);
        for (int k = 0; k < 40; k++) {
            OK(cuGraphLaunch(exec, stream));
            pause_us(300);
        }
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

MAIN(CASE(a_graph_that_the_program_changes_stays_its_own),
     CASE(a_node_that_the_program_changes_is_changed_in_what_runs),
     CASE(a_graph_is_destroyed_with_all_that_was_made_of_it),
     CASE(nothing_is_made_while_a_stream_captures),
     CASE(a_graph_launched_into_a_capture_is_the_programs_own),
     CASE(what_was_not_used_for_longest_goes_first),
     CASE(a_graph_that_cannot_be_made_pays_with_time))
