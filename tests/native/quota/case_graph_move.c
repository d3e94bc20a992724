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
    resize(HALF, 1000);
    follows(64, execs[7], stream);
    pause_us(50000);
    CHECK(is_on(132, execs[3], stream));
    follows(64, execs[3], stream);
}

/* --- order ----------------------------------------------------------------------------------- */

static int inside, overlaps, finished;

static void comes_in(void *unused)
{
    (void)unused;
    if (__atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST) != 1)
        __atomic_add_fetch(&overlaps, 1, __ATOMIC_SEQ_CST);
}

static void goes_out(void *unused)
{
    (void)unused;
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

/* A graph that sees whether another launch of it runs at the same time. */
static CUgraphExec watchful(CUstream stream)
{
    CUgraph graph;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuLaunchHostFunc(stream, comes_in, NULL));
    OK(launch(kernel("wide_100us"), stream));
    OK(cuLaunchHostFunc(stream, goes_out, NULL));
    OK(cuStreamEndCapture(stream, &graph));
    return executable(graph);
}

static void launches_on_several_streams_never_overlap(void)
{
    start();
    CUstream streams[6], busy = new_stream(CU_STREAM_NON_BLOCKING);
    for (int i = 0; i < 6; i++) /* more than the library notes by name */
        streams[i] = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = watchful(streams[0]);
    static const uint64_t sizes[] = {HALF, ALL, QUARTER};
    int launched = 0;
    for (int i = 0; i < 600; i++, launched++) {
        if (i % 40 == 0)
            write_limits(sizes[i / 40 % 3], 1000, 1ull << 40);
        OK(cuGraphLaunch(exec, streams[i % 6]));
        if (i % 5 == 0)
            pause_us(300);
    }
    OK(launch(kernel("narrow_us"), busy));
    OK(cuCtxSynchronize());
    CHECK(finished == launched);
    CHECK(overlaps == 0);
}

/* What was launched on a stream that is gone is still waited for. */
static void launches_on_streams_that_end_never_overlap(void)
{
    start();
    CUstream first = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec = watchful(first);
    static const uint64_t sizes[] = {HALF, ALL, QUARTER};
    for (int i = 0; i < 200; i++) {
        if (i % 20 == 0)
            write_limits(sizes[i / 20 % 3], 1000, 1ull << 40);
        CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
        OK(cuGraphLaunch(exec, stream));
        OK(cuGraphLaunch(exec, stream));
        OK(cuStreamDestroy_v2(stream));
        pause_us(500);
    }
    for (int i = 0; i < 3000 && __atomic_load_n(&finished, __ATOMIC_SEQ_CST) < 400; i++)
        pause_us(1000);
    CHECK(finished == 400 && overlaps == 0);
}

static CUcontext shared;
static CUgraphExec shared_exec;
static int enough;

static void *launch_many(void *count)
{
    uint64_t *launched = count;
    OK(cuCtxSetCurrent(shared));
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    for (; !__atomic_load_n(&enough, __ATOMIC_ACQUIRE); ++*launched) {
        OK(cuGraphLaunch(shared_exec, stream));
        if (*launched % 8 == 0)
            OK(cuStreamSynchronize(stream));
    }
    OK(cuStreamSynchronize(stream));
    return NULL;
}

static void threads_launch_a_graph_while_it_moves(void)
{
    pthread_t thread[3];
    uint64_t launched[3] = {0};
    shared = start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    shared_exec = watchful(stream);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread[i], NULL, launch_many, &launched[i]) == 0);
    static const uint64_t sizes[] = {HALF, ALL, QUARTER};
    for (int i = 0; i < 60; i++) {
        write_limits(sizes[i % 3], 1000, 1ull << 40);
        pause_us(8000);
    }
    __atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    OK(cuCtxSynchronize());
    CHECK((uint64_t)finished == launched[0] + launched[1] + launched[2]);
    CHECK(overlaps == 0 && slot()->ungated_launches == 0);
}

MAIN(CASE(a_graph_follows_the_partition),
     CASE(a_graph_that_moved_is_not_held_back),
     CASE(a_graph_captured_on_a_partition_grows_and_comes_back),
     CASE(graphs_that_nobody_launches_are_not_made),
     CASE(launches_on_several_streams_never_overlap),
     CASE(launches_on_streams_that_end_never_overlap),
     CASE(threads_launch_a_graph_while_it_moves))
