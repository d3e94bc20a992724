/* CUDA graphs: gated, charged for the SMs they really use, and never disturbed while captured. */
#include "pod_case.h"

static CUgraphExec graph_of(CUfunction function, CUstream stream, int kernels)
{
    CUgraph graph;
    CUgraphExec exec;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    for (int i = 0; i < kernels; i++)
        OK(launch(function, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    return exec;
}

/* One that allocates memory, so that there can be no second one: it stays where it is. */
static CUgraphExec fixed_graph_of(CUfunction function, CUstream stream, int kernels)
{
    CUgraph graph;
    CUgraphExec exec;
    CUdeviceptr memory;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemAllocAsync(&memory, 4096, stream));
    for (int i = 0; i < kernels; i++)
        OK(launch(function, stream));
    OK(cuMemFreeAsync(memory, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    return exec;
}

static double graph_cost(CUgraphExec exec, CUstream stream)
{
    for (int i = 0; i < 5; i++)
        OK(cuGraphLaunch(exec, stream));
    CUevent begin = record(stream);
    OK(cuGraphLaunch(exec, stream));
    return between_ns(begin, record(stream));
}

/* Launches of about a millisecond in a second, as a share of the second. */
static double replayed(CUgraphExec exec, CUstream stream)
{
    int64_t begin = now_ns();
    int count = 0;
    for (; now_ns() - begin < 1000000000; count++) {
        OK(cuGraphLaunch(exec, stream));
        OK(cuStreamSynchronize(stream));
    }
    return count / 1e3;
}

static void graph_launches_are_gated_and_charged(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = graph_of(kernel("wide_100us"), stream, 10);
    resize(ALL, 300);
    check_share(replayed(exec, stream), 0.3);
    CHECK(slot()->graph_launches > 200 && slot()->graph_launches == slot()->launches);
    CHECK(slot()->ungated_launches == 0 && slot()->throttled_ns > 500 * MS);
    pause_us(30000);
    CHECK_NEAR(slot()->gpu_time_ns / MS, slot()->graph_launches, 10);
}

/* It stays on the SMs of its capture; on a smaller grant it gets less time. */
static void a_graph_on_more_sms_than_granted_pays_with_time(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = fixed_graph_of(kernel("wide_100us"), stream, 10);
    resize(HALF, 1000);
    CHECK_NEAR(graph_cost(exec, stream), MS, 0.1 * MS);
    check_share(replayed(exec, stream), 64 / 132.0);
    resize(HALF, 500);
    check_share(replayed(exec, stream), 64 / 264.0);
}

static void a_graph_captured_on_a_partition_costs_what_it_uses(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    resize(HALF, 1000);
    CUgraphExec exec = fixed_graph_of(kernel("wide_100us"), stream, 5);
    CHECK_NEAR(graph_cost(exec, stream), 0.5 * MS * 132 / 64, 0.05 * MS);
    CHECK(slot()->throttled_ns == 0);
    resize(QUARTER, 1000);
    uint64_t area = slot()->area_sm_ns, time = slot()->gpu_time_ns;
    for (int i = 0; i < 200; i++)
        OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    pause_us(30000);
    CHECK_NEAR((double)(slot()->area_sm_ns - area) / (double)(slot()->gpu_time_ns - time), 64, 1);
    CHECK(slot()->throttled_ns > 0);
}

/* Limits change in the middle of a capture: the capture succeeds and holds all its nodes. */
static void a_stream_that_captures_is_never_moved(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraph graph;
    CUgraphExec exec;
    size_t nodes = 0;
    resize(HALF, 1000);
    OK(launch(wide, stream));
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(launch(wide, stream));
    write_limits(ALL, 500, 1ull << 40);
    pause_us(50000);
    for (int i = 0; i < 3; i++)
        OK(launch(wide, stream));
    write_limits(QUARTER, 500, 1ull << 40);
    pause_us(50000);
    OK(launch(wide, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphGetNodes(graph, NULL, &nodes));
    CHECK(nodes == 5);
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CHECK_NEAR(graph_cost(exec, stream), 0.5 * MS * 132 / 64, 0.1 * MS);
    resize(QUARTER, 1000);
    CHECK_NEAR(cost_of(wide, stream), 0.1 * MS * 132 / 32, 1000);
}

/* It becomes a branch of the graph on the largest partition, and the graph costs its SMs. */
static void a_large_cooperative_launch_can_be_captured(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraph graph;
    CUgraphExec exec;
    int per_sm;
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, wide, 256, 0));
    resize(HALF, 1000);
    OK(launch(wide, stream));
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(launch(wide, stream));
    unsigned blocks = (unsigned)per_sm * H200_SMS;
    OK(cuLaunchCooperativeKernel(wide, blocks, 1, 1, 256, 1, 1, 0, stream, NULL));
    OK(launch(wide, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CHECK_NEAR(graph_cost(exec, stream), (0.2 * 132 / 64 + 0.1) * MS, 0.05 * MS);
    pause_us(30000);
    uint64_t area = slot()->area_sm_ns, time = slot()->gpu_time_ns;
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    pause_us(30000);
    CHECK(slot()->gpu_time_ns > time);
    CHECK(slot()->area_sm_ns - area == 132 * (slot()->gpu_time_ns - time));
}

/* What is metered while another stream captures must not enter the capture. */
static void other_streams_work_while_one_captures(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING), other = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraph graph;
    size_t nodes = 0;
    resize(HALF, 400);
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    for (int i = 0; i < 100; i++) {
        OK(launch(wide, other));
        if (i % 10 == 0)
            OK(launch(wide, stream));
    }
    OK(cuStreamSynchronize(other));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphGetNodes(graph, NULL, &nodes));
    CHECK(nodes == 10);
    CHECK(slot()->launches == 100 && slot()->ungated_launches == 0);
}

static void a_capture_that_fails_counts_as_ended(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraph graph;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(launch(wide, stream));
    CHECK(cuStreamSynchronize(stream) != CUDA_SUCCESS); /* spoils it */
    CHECK(cuStreamEndCapture(stream, &graph) != CUDA_SUCCESS);
    CHECK(cuStreamEndCapture(stream, &graph) != CUDA_SUCCESS); /* there is none any more */
    resize(HALF, 1000); /* streams move again */
    CHECK_NEAR(cost_of(wide, stream), 0.1 * MS * 132 / 64, 1000);
}

MAIN(CASE(graph_launches_are_gated_and_charged),
     CASE(a_graph_on_more_sms_than_granted_pays_with_time),
     CASE(a_graph_captured_on_a_partition_costs_what_it_uses),
     CASE(a_large_cooperative_launch_can_be_captured),
     CASE(a_stream_that_captures_is_never_moved), CASE(other_streams_work_while_one_captures),
     CASE(a_capture_that_fails_counts_as_ended))
