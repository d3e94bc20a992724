/* Threads that meet while something of theirs is moved; the driver takes its time meanwhile (see
 * FAULTS in test_cases.py). */
#include <pthread.h>

#include "graph_case.h"

#define SLOW_MS 150 /* a launch of a graph, and a stream on a partition */

static CUcontext context;
static CUstream stream, other;
static CUgraphExec exec;
static CUfunction wide;

static void *launch_kernel(void *unused)
{
    (void)unused;
    OK(cuCtxSetCurrent(context));
    OK(launch(wide, stream));
    return NULL;
}

static void *launch_graph(void *unused)
{
    (void)unused;
    OK(cuCtxSetCurrent(context));
    OK(cuGraphLaunch(exec, stream));
    return NULL;
}

/* Milliseconds that a call takes which another thread began a little before. */
static double beside(void *(*call)(void *), CUstream second)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, call, NULL) == 0);
    pause_us(20000);
    int64_t began = now_ns();
    if (call == launch_graph)
        OK(cuGraphLaunch(exec, second));
    else
        OK(launch(wide, second));
    double took = (double)(now_ns() - began) / MS;
    pthread_join(thread, NULL);
    return took;
}

/* Its work would go to where the stream was, and what comes later would not wait for it. */
static void who_comes_while_a_stream_moves_waits_until_it_has(void)
{
    context = start();
    wide = kernel("wide_ms");
    other = new_stream(CU_STREAM_NON_BLOCKING);
    OK(launch(wide, other));
    resize(HALF, 1000);
    pause_us(4000 * SLOW_MS); /* until streams that are idle have theirs as well */
    stream = new_stream(CU_STREAM_NON_BLOCKING); /* has no place on the partition yet */
    CHECK(beside(launch_kernel, stream) > SLOW_MS / 2);
    CHECK_NEAR(cost_of(wide, stream), 132.0 / 64 * MS, 1000);
}

/* It would run beside what was launched before the change. */
static void who_launches_a_graph_that_changes_waits_for_the_launch_that_changes_it(void)
{
    static const uint64_t sizes[] = {HALF, QUARTER, 0x3, 0x7};
    double took = 0;
    context = start();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    other = new_stream(CU_STREAM_NON_BLOCKING);
    exec = executable(captured(kernel("narrow_us"), stream, 1));
    for (int i = 0; i < 4 && took < 1.5 * SLOW_MS; i++) {
        OK(cuGraphLaunch(exec, stream));
        resize(sizes[i], 1000);
        pause_us(300000); /* until it is made for the partition */
        took = beside(launch_graph, other);
    }
    CHECK(took > 1.5 * SLOW_MS);
}

MAIN(CASE(who_comes_while_a_stream_moves_waits_until_it_has),
     CASE(who_launches_a_graph_that_changes_waits_for_the_launch_that_changes_it))
