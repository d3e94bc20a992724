/* Graphs of kernels that show on how many SMs they run. */
#ifndef GRAPH_CASE_H
#define GRAPH_CASE_H

#include "pod_case.h"

#define KERNELS 5

static CUgraph captured(CUfunction function, CUstream stream, int kernels)
{
    CUgraph graph;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    for (int i = 0; i < kernels; i++)
        OK(launch(function, stream));
    OK(cuStreamEndCapture(stream, &graph));
    return graph;
}

static CUgraphExec executable(CUgraph graph)
{
    CUgraphExec exec;
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    return exec;
}

/* Of 5 kernels of 0.1 ms each on the whole GPU. */
static double on(int sms)
{
    return 0.1 * KERNELS * MS * H200_SMS / sms;
}

static double cost(CUgraphExec exec, CUstream stream)
{
    double least = 1e18;
    for (int i = 0; i < 3; i++) { /* a launch that waits for its turn takes longer */
        OK(cuGraphLaunch(exec, stream));
        CUevent begin = record(stream);
        OK(cuGraphLaunch(exec, stream));
        double found = between_ns(begin, record(stream));
        least = found < least ? found : least;
    }
    return least;
}

static bool is_on(int sms, CUgraphExec exec, CUstream stream)
{
    double found = cost(exec, stream);
    return found > 0.97 * on(sms) && found < 1.03 * on(sms);
}

/* Launches it until it runs on so many SMs. */
static void follows(int sms, CUgraphExec exec, CUstream stream)
{
    for (int i = 0; i < 2000 && !is_on(sms, exec, stream); i++)
        pause_us(1000);
    CHECK(is_on(sms, exec, stream));
}

static void stays(int sms, CUgraphExec exec, CUstream stream)
{
    for (int i = 0; i < 60; i++) {
        CHECK(is_on(sms, exec, stream));
        pause_us(1000);
    }
}

/* SMs that a launch is charged for. */
static double charged(CUgraphExec exec, CUstream stream)
{
    OK(cuStreamSynchronize(stream));
    pause_us(30000);
    uint64_t area = slot()->area_sm_ns, time = slot()->gpu_time_ns;
    for (int i = 0; i < 20; i++)
        OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    pause_us(30000);
    CHECK(slot()->gpu_time_ns > time);
    return (double)(slot()->area_sm_ns - area) / (double)(slot()->gpu_time_ns - time);
}

#endif
