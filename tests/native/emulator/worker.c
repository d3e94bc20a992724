/* A process among several on one GPU: worker MODE FIRST_GROUP GROUPS LAUNCHES.
 *
 * Says `ready`, waits for a line, queues LAUNCHES kernels of 5 ms (alone on all SMs), and says how
 * many simulated milliseconds they took. GROUPS 0 means the whole GPU. MODE is `run`; `hang`:
 * queue, say so, and wait to be killed; `lock`: die with the GPU's lock held; `cost`: say what
 * one launch costs the host, in nanoseconds.
 */
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "../../../quota_runtime/emulator/gpu_list.h"
#include "driver_case.h"

#define MAX_GROUPS 16

static const char long_image[] = "HASEMU 1\n"
                                 "kernel wide work_sm_ns=660000000 floor_ns=2000 max_sm=132\n"
                                 "kernel tiny work_sm_ns=2000 floor_ns=2000 max_sm=1\n";

static CUstream stream_on(unsigned first, unsigned groups)
{
    CUdevResource all, cut[MAX_GROUPS];
    CUdevResourceDesc description;
    CUgreenCtx green;
    CUstream stream;
    unsigned count = MAX_GROUPS - 1;
    if (groups == 0)
        return new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuDeviceGetDevResource(0, &all, CU_DEV_RESOURCE_TYPE_SM));
    OK(cuDevSmResourceSplitByCount(cut, &count, &all, NULL, 0, 8));
    OK(cuDevResourceGenerateDesc(&description, cut + first, groups));
    OK(cuGreenCtxCreate(&green, description, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    OK(cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING, 0));
    return stream;
}

static void die_with_the_lock(void)
{
    struct emu_gpu *gpus[8];
    CHECK(gpu_list_open(gpus, 8) > 0);
    CHECK(pthread_mutex_lock(&gpus[0]->lock) == 0);
    gpus[0]->active[0] = 0; /* as if in the middle of a change */
    kill(getpid(), SIGKILL);
}

static double cost_ns(CUfunction tiny, CUstream stream)
{
    struct timespec start, end;
    double best = 1e9;
    for (int round = 0; round < 20; round++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int i = 0; i < 500; i++)
            OK(launch(tiny, stream));
        clock_gettime(CLOCK_MONOTONIC, &end);
        double ns = (double)(end.tv_sec - start.tv_sec) * 1e9 +
                    (double)(end.tv_nsec - start.tv_nsec);
        best = ns / 500 < best ? ns / 500 : best;
        OK(cuStreamSynchronize(stream));
    }
    return best;
}

int main(int argc, char **argv)
{
    CHECK(argc == 5);
    primary_context();
    CUmodule module;
    CUfunction wide, tiny;
    CUdeviceptr memory;
    char line[16];
    OK(cuModuleLoadData(&module, long_image));
    OK(cuModuleGetFunction(&wide, module, "wide"));
    OK(cuModuleGetFunction(&tiny, module, "tiny"));
    OK(cuMemAlloc_v2(&memory, 1000000000));
    CUstream stream = stream_on((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
    if (strcmp(argv[1], "cost") == 0) {
        printf("%.1f\n", cost_ns(tiny, stream));
        return 0;
    }
    puts("ready");
    fflush(stdout);
    CHECK(fgets(line, sizeof line, stdin));
    CUevent start = record(stream);
    for (int i = 0; i < atoi(argv[4]); i++)
        OK(launch(wide, stream));
    CUevent end = record(stream);
    if (strcmp(argv[1], "lock") == 0)
        die_with_the_lock();
    if (strcmp(argv[1], "hang") == 0) {
        puts("queued");
        fflush(stdout);
        pause();
    }
    printf("%.3f\n", between_ns(start, end) / MS);
    return 0;
}
