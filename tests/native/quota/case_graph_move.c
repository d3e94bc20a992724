/* CUDA graphs on another partition than that of their capture. */
#include <pthread.h>

#include "graph_case.h"

static void a_graph_follows_the_partition(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    CHECK(is_on(132, exec, stream));
    static const struct {
        uint64_t groups;
        int sms;
    } steps[] = {{HALF, 64}, {QUARTER, 32}, {HALF, 64}, {ALL, 132}, {QUARTER, 32}};
    for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        resize(steps[i].groups, 1000);
        follows(steps[i].sms, exec, stream);
        CHECK_NEAR(charged(exec, stream), steps[i].sms, 0.5);
    }
    CHECK(slot()->ungated_launches == 0);
}

/* Once it is there it costs no more time than its SMs are worth. */
static void a_graph_that_moved_is_not_held_back(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = executable(captured(kernel("wide_100us"), stream, KERNELS));
    resize(HALF, 1000);
    follows(64, exec, stream);
    pause_us(60000);
    uint64_t throttled = slot()->throttled_ns;
    stays(64, exec, stream);
    CHECK(slot()->throttled_ns == throttled);
}

static void a_graph_captured_on_a_partition_grows_and_comes_back(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    resize(QUARTER, 1000);
    OK(launch(wide, stream));
    CUgraphExec exec = executable(captured(wide, stream, KERNELS));
    CHECK(is_on(32, exec, stream));
    resize(ALL, 1000);
    follows(132, exec, stream);
    resize(QUARTER, 1000);
    follows(32, exec, stream);
}

/* Many graphs: the one launched lately is made first, those never launched are not made at all. */
static void graphs_that_nobody_launches_are_not_made(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_100us");
    CUgraphExec execs[20];
    for (int i = 0; i < 20; i++)
        execs[i] = executable(captured(wide, stream, KERNELS));
    OK(cuGraphLaunch(execs[5], stream));
    OK(cuStreamSynchronize(stream));
    pause_us(2200000); /* too long ago to tell that it will be launched again */
    resize(HALF, 1000);
    follows(64, execs[7], stream);
    pause_us(50000);
    for (int i = 3; i < 6; i++) {
        CUevent begin = record(stream);
        OK(cuGraphLaunch(execs[i], stream));
        CHECK(between_ns(begin, record(stream)) < 0.8 * on(64));
    }
    follows(64, execs[5], stream);
}

/* --- order ----------------------------------------------------------------------------------- */

#define MOST_LAUNCHES 4096

static CUevent ends[MOST_LAUNCHES];
static int launches;

/* A graph that takes 1 ms on any partition, and would run beside itself. */
static CUgraphExec narrow_graph(CUstream stream)
{
    return executable(captured(kernel("narrow_ms"), stream, 1));
}

static void launch_noted(CUgraphExec exec, CUstream stream)
{
    CUevent end = new_event();
    OK(cuGraphLaunch(exec, stream));
    OK(cuEventRecord(end, stream));
    int place = __atomic_fetch_add(&launches, 1, __ATOMIC_SEQ_CST);
    CHECK(place < MOST_LAUNCHES);
    ends[place] = end;
}

static int by_time(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

/* One after the other: from each end to the next there is time for a whole launch. */
static void check_that_none_overlapped(CUevent begin)
{
    static double at[MOST_LAUNCHES];
    for (int i = 0; i < launches; i++)
        at[i] = between_ns(begin, ends[i]);
    qsort(at, (size_t)launches, sizeof at[0], by_time);
    for (int i = 0; i < launches; i++)
        CHECK(at[i] - (i ? at[i - 1] : 0) > 0.98 * MS);
}

static const uint64_t sizes[] = {HALF, ALL, QUARTER};

static void launches_on_several_streams_never_overlap(void)
{
    start();
    CUstream streams[6]; /* more than the library notes */
    for (int i = 0; i < 6; i++)
        streams[i] = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = narrow_graph(streams[0]);
    CUevent begin = record(streams[0]);
    for (int i = 0; i < 500; i++) { /* faster than they run */
        if (i % 25 == 0)
            write_limits(sizes[i / 25 % 3], 1000, 1ull << 40);
        launch_noted(exec, streams[i % 6]);
        pause_us(300);
    }
    check_that_none_overlapped(begin);
    CHECK(slot()->resizes > 10);
}

/* What was launched on a stream that is gone is still waited for. */
static void launches_on_streams_that_end_never_overlap(void)
{
    start();
    CUstream first = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = narrow_graph(first);
    CUevent begin = record(first);
    for (int i = 0; i < 150; i++) {
        if (i % 15 == 0)
            write_limits(sizes[i / 15 % 3], 1000, 1ull << 40);
        CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
        launch_noted(exec, stream);
        launch_noted(exec, stream);
        OK(cuStreamDestroy_v2(stream));
        pause_us(500);
    }
    check_that_none_overlapped(begin);
}

/* The program's own comes back while what stood in for it is still running elsewhere. */
static void a_change_comes_after_what_was_launched_before(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING), other = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraph graph = captured(kernel("narrow_ms"), stream, 1);
    CUgraphExec exec;
    CUevent begin = record(stream);
    uint64_t info[4];
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    resize(HALF, 1000);
    for (int i = 0; i < 100; i++) {
        launch_noted(exec, stream);
        pause_us(500);
    }
    OK(cuGraphExecUpdate_v2(exec, graph, (void *)info));
    launch_noted(exec, other);
    check_that_none_overlapped(begin);
}

/* Nothing of ours may enter a capture, so no event of ours tells what was on that stream before. */
static void launches_before_a_capture_are_waited_for_as_well(void)
{
    start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING), other = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = narrow_graph(stream);
    CUgraph graph;
    for (int i = 0; i < 2; i++) { /* what is needed on the half is there before the capture */
        resize(i ? ALL : HALF, 1000);
        for (int k = 0; k < 50; k++) {
            OK(cuGraphLaunch(exec, stream));
            pause_us(1000);
        }
    }
    CUevent begin = record(stream);
    for (int i = 0; i < 60; i++)
        launch_noted(exec, stream);
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    write_limits(HALF, 1000, 1ull << 40);
    pause_us(30000);
    for (int i = 0; i < 40; i++)
        launch_noted(exec, other);
    OK(cuStreamEndCapture(stream, &graph));
    check_that_none_overlapped(begin);
}

static CUcontext shared;
static CUgraphExec shared_exec;
static int enough;

static void *launch_many(void *on_its_default_stream)
{
    OK(cuCtxSetCurrent(shared));
    CUstream stream =
        on_its_default_stream ? CU_STREAM_PER_THREAD : new_stream(CU_STREAM_NON_BLOCKING);
    for (int i = 0; !__atomic_load_n(&enough, __ATOMIC_ACQUIRE); i++) {
        launch_noted(shared_exec, stream);
        pause_us(i % 16 ? 500 : 30000);
    }
    return NULL;
}

static void launch_from_threads(void *on_their_default_streams)
{
    pthread_t thread[3];
    shared = start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    shared_exec = narrow_graph(stream);
    CUevent begin = record(stream);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread[i], NULL, launch_many, on_their_default_streams) == 0);
    for (int i = 0; i < 60; i++) {
        write_limits(sizes[i % 3], 1000, 1ull << 40);
        pause_us(8000);
    }
    __atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    check_that_none_overlapped(begin);
    CHECK(slot()->graph_launches == (uint64_t)launches && slot()->ungated_launches == 0);
}

static void threads_launch_a_graph_while_it_moves(void)
{
    launch_from_threads(NULL);
}

/* The driver calls the default streams of all threads by one name. */
static void threads_launch_a_graph_on_their_default_streams(void)
{
    launch_from_threads(&enough);
}

MAIN(CASE(a_graph_follows_the_partition),
     CASE(a_graph_that_moved_is_not_held_back),
     CASE(a_graph_captured_on_a_partition_grows_and_comes_back),
     CASE(graphs_that_nobody_launches_are_not_made),
     CASE(launches_on_several_streams_never_overlap),
     CASE(launches_on_streams_that_end_never_overlap),
     CASE(a_change_comes_after_what_was_launched_before),
     CASE(launches_before_a_capture_are_waited_for_as_well),
     CASE(threads_launch_a_graph_while_it_moves),
     CASE(threads_launch_a_graph_on_their_default_streams))
