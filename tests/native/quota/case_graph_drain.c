/* When limits are in force for graphs: an executable graph takes 30 ms to make here (see FAULTS in
 * test_cases.py). */
#include "graph_case.h"

#define MAKING_MS 30
#define PATIENCE_MS 100

static CUstream stream;

static void begin(void)
{
    start();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
}

static bool in_force(uint64_t epoch)
{
    return __atomic_load_n(&slot()->epoch_in_force, __ATOMIC_ACQUIRE) >= epoch;
}

/* Milliseconds from a write of limits until they are in force, the graph launched all the time. */
static double until_in_force(uint64_t groups, CUgraphExec exec)
{
    int64_t began = now_ns();
    uint64_t epoch = write_limits(groups, 1000, 1ull << 40);
    while (!in_force(epoch) && now_ns() - began < 3000 * MS) {
        OK(cuGraphLaunch(exec, stream));
        OK(cuStreamSynchronize(stream));
    }
    CHECK(in_force(epoch));
    return (double)(now_ns() - began) / MS;
}

static void fewer_sms_are_in_force_once_graphs_have_moved(void)
{
    begin();
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    OK(cuGraphLaunch(exec, stream));
    CHECK(until_in_force(HALF, exec) > MAKING_MS);
    CHECK(is_on(64, exec, stream));
}

/* Its stream is on the partition already, the graph is not. */
static void what_a_graph_still_does_on_its_old_sms_is_waited_for(void)
{
    begin();
    CUgraphExec exec = executable(captured(kernel("wide_ms"), stream, 40));
    CUevent end = new_event();
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    uint64_t resizes = slot()->resizes, epoch = write_limits(HALF, 1000, 1ull << 40);
    for (int i = 0; i < 1000 && slot()->resizes == resizes; i++)
        pause_us(100);
    OK(cuGraphLaunch(exec, stream));
    OK(cuEventRecord(end, stream));
    CHECK(!in_force(epoch));
    while (!in_force(epoch))
        pause_us(100);
    CHECK(cuEventQuery(end) == CUDA_SUCCESS);
}

static void more_sms_wait_for_no_graph(void)
{
    static const uint64_t sizes[] = {0x1f, 0x3f, 0x7f};
    double least = 1000;
    begin();
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    OK(cuGraphLaunch(exec, stream));
    until_in_force(QUARTER, exec);
    for (int i = 0; i < 3; i++) {
        double took = until_in_force(sizes[i], exec);
        least = took < least ? took : least;
        follows(40 + 8 * i, exec, stream);
    }
    CHECK(least < MAKING_MS - 5);
}

/* Here one takes 400 ms to make. */
static void graphs_that_take_long_are_waited_for_for_a_bounded_time(void)
{
    begin();
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    OK(cuGraphLaunch(exec, stream));
    double took = until_in_force(HALF, exec);
    CHECK(took > 0.9 * PATIENCE_MS && took < 3 * PATIENCE_MS);
}

MAIN(CASE(fewer_sms_are_in_force_once_graphs_have_moved),
     CASE(what_a_graph_still_does_on_its_old_sms_is_waited_for), CASE(more_sms_wait_for_no_graph),
     CASE(graphs_that_take_long_are_waited_for_for_a_bounded_time))
