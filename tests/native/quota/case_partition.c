/* The SM partition of a live process on the emulated GPU. `wide_ms` takes 1 ms on all 132 SMs. */
#include <pthread.h>

#include "pod_case.h"

#define HALF_MS (132.0 / 64 * MS)
#define QUARTER_MS (132.0 / 32 * MS)

static void work_runs_on_the_granted_sms_and_follows_each_change(void)
{
    start();
    CUfunction wide = kernel("wide_ms");
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CHECK_NEAR(cost_of(wide, stream), MS, 1000);
    resize(HALF, 1000);
    CHECK_NEAR(cost_of(wide, stream), HALF_MS, 1000);
    CHECK_NEAR(cost_of(wide, NULL), HALF_MS, 1000);
    CHECK_NEAR(cost_of(wide, CU_STREAM_PER_THREAD), HALF_MS, 1000);
    resize(QUARTER, 1000);
    CHECK_NEAR(cost_of(wide, stream), QUARTER_MS, 1000);
    resize(ALL, 1000);
    CHECK_NEAR(cost_of(wide, stream), MS, 1000);
    CHECK_NEAR(cost_of(wide, NULL), MS, 1000);
    CHECK(slot()->resizes == 3 && slot()->resize_last_ns > 0);
}

static void what_is_in_force_is_reported(void)
{
    start();
    resize(QUARTER, 600);
    CHECK(slot()->sm_groups[0] == QUARTER && slot()->quota_permille == 600);
    CHECK(slot()->in_force_at_ns >= limits->written_at_ns);
}

static int by_size(const void *a, const void *b)
{
    int64_t first = *(const int64_t *)a, second = *(const int64_t *)b;
    return (first > second) - (first < second);
}

/* A launch sees new limits while 1 ms of work still runs on the old SMs; the helper, which had
 * nothing to do for long, says soon after its end that they are in force. */
static void limits_that_wait_for_work_are_in_force_soon_after_it(void)
{
    enum { TIMES = 15 };
    int64_t took[TIMES];
    start();
    CUfunction narrow = kernel("narrow_ms");
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    resize(HALF, 1000);
    resize(QUARTER, 1000);
    for (int i = 0; i < TIMES; i++) {
        pause_us(25000);
        OK(launch(narrow, stream));
        int64_t began = now_ns();
        uint64_t epoch = write_limits(i % 2 ? QUARTER : HALF, 1000, 1ull << 40);
        OK(launch(kernel("narrow_us"), stream));
        while (__atomic_load_n(&slot()->epoch_in_force, __ATOMIC_ACQUIRE) < epoch)
            pause_us(50);
        took[i] = now_ns() - began;
    }
    qsort(took, TIMES, sizeof took[0], by_size);
    CHECK(took[TIMES / 2] < 4 * MS);
}

/* Its thread waits by an event, which the library does not see, and makes no further call. */
static void a_silent_per_thread_stream_holds_nothing_up(void)
{
    start();
    CUfunction narrow = kernel("narrow_us");
    for (int on_partition = 0; on_partition < 2; on_partition++) {
        uint64_t before = slot()->gpu_time_ns;
        OK(launch(narrow, CU_STREAM_PER_THREAD));
        OK(cuEventSynchronize(record(CU_STREAM_PER_THREAD)));
        uint64_t epoch = write_limits(on_partition ? QUARTER : HALF, 1000, 1ull << 40);
        for (int i = 0; i < 3000 && slot()->epoch_in_force < epoch; i++)
            pause_us(1000);
        CHECK(slot()->epoch_in_force == epoch && slot()->gpu_time_ns > before);
        OK(launch(narrow, CU_STREAM_PER_THREAD));
    }
}

#define STEPS 200

static unsigned done[STEPS], done_count;

static void remember_step(void *step)
{
    done[done_count++] = (unsigned)(uintptr_t)step;
}

/* Kernels, host functions and events of one stream stay in order across 50 moves. */
static void the_order_of_a_stream_survives_moves(void)
{
    start();
    CUfunction narrow = kernel("narrow_ms");
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent begin[STEPS], end[STEPS];
    static const uint64_t sizes[] = {HALF, ALL, QUARTER};
    for (unsigned i = 0; i < STEPS; i++) {
        if (i % 4 == 0)
            write_limits(sizes[i / 4 % 3], 1000, 1ull << 40);
        begin[i] = record(stream);
        OK(launch(narrow, stream));
        end[i] = record(stream);
        OK(cuLaunchHostFunc(stream, remember_step, (void *)(uintptr_t)i));
        pause_us(100);
    }
    OK(cuStreamSynchronize(stream));
    CHECK(done_count == STEPS);
    for (unsigned i = 0; i < STEPS; i++) {
        CHECK(done[i] == i);
        CHECK(between_ns(begin[i], end[i]) > 0.99 * MS);
        if (i)
            CHECK(between_ns(end[i - 1], begin[i]) >= 0);
    }
    CHECK(slot()->resizes > 10);
}

static void the_null_stream_keeps_its_rules_on_a_partition(void)
{
    start();
    CUfunction narrow = kernel("narrow_ms");
    CUstream a = new_stream(CU_STREAM_DEFAULT), b = new_stream(CU_STREAM_DEFAULT);
    CUstream free_stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(launch(narrow, a));
    OK(launch(narrow, NULL));
    OK(launch(narrow, b));
    OK(cuCtxSynchronize());
    resize(HALF, 1000);
    for (int i = 0; i < 5; i++) /* the host may be held up for some milliseconds */
        OK(launch(narrow, a));
    CUevent begin = record(a);
    OK(launch(narrow, a));
    OK(launch(narrow, NULL));
    OK(launch(narrow, b));
    OK(launch(narrow, free_stream));
    CUevent alone = record(free_stream), end = record(b);
    CHECK_NEAR(between_ns(begin, end), 3 * MS, 0.4 * MS);
    CHECK(between_ns(alone, end) > 1.5 * MS);
}

/* The driver orders a synchronous copy on its own default stream: after ours, and before ours. */
static void a_synchronous_copy_comes_after_the_null_stream(void)
{
    start();
    CUdeviceptr memory;
    char host[64];
    OK(cuMemAlloc_v2(&memory, sizeof host));
    resize(HALF, 1000);
    CUfunction narrow = kernel("narrow_ms");
    OK(launch(narrow, NULL));
    CUevent end = record(NULL);
    OK(cuMemcpyDtoH_v2(host, memory, sizeof host));
    CHECK(cuEventQuery(end) == CUDA_SUCCESS);
}

static void waiting_for_the_context_waits_for_moved_streams(void)
{
    CUcontext context = start();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    resize(HALF, 1000);
    OK(launch(kernel("wide_ms"), stream));
    CUevent end = record(stream);
    OK(cuCtxSynchronize());
    CHECK(cuEventQuery(end) == CUDA_SUCCESS);
    OK(launch(kernel("wide_ms"), stream));
    end = record(stream);
    OK(cuCtxSynchronize_v2(context));
    CHECK(cuEventQuery(end) == CUDA_SUCCESS);
}

static void a_stream_destroyed_with_work_finishes_it(void)
{
    start();
    CUfunction narrow = kernel("narrow_ms");
    resize(HALF, 1000);
    CUstream other = new_stream(CU_STREAM_NON_BLOCKING);
    for (int i = 0; i < 300; i++) {
        CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
        CUevent event = new_event();
        OK(launch(narrow, stream));
        OK(cuEventRecord(event, stream));
        OK(cuStreamDestroy_v2(stream));
        OK(cuStreamWaitEvent(other, event, 0));
        OK(cuEventDestroy_v2(event));
    }
    OK(cuStreamSynchronize(other));
}

/* 132 blocks that must all run at once, one on each SM: more than half of the GPU holds. */
static void a_cooperative_launch_that_does_not_fit_runs_on_the_most(void)
{
    start();
    CUfunction wide = kernel("wide_ms");
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    int per_sm;
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, wide, 256, 0));
    unsigned blocks = (unsigned)per_sm * H200_SMS;
    resize(HALF, 1000);
    OK(launch(wide, stream));
    OK(cuStreamSynchronize(stream));
    pause_us(30000);
    uint64_t area = slot()->area_sm_ns, time = slot()->gpu_time_ns;
    CUevent begin = record(stream);
    OK(cuLaunchCooperativeKernel(wide, blocks, 1, 1, 256, 1, 1, 0, stream, NULL));
    CUevent end = record(stream);
    CHECK(between_ns(begin, end) > 0.99 * MS && between_ns(begin, end) < 0.95 * HALF_MS);
    OK(cuStreamSynchronize(stream));
    pause_us(30000);
    /* Charged for all the SMs it ran on. */
    CHECK(slot()->gpu_time_ns > time + 0.9 * MS);
    CHECK(slot()->area_sm_ns - area == 132 * (slot()->gpu_time_ns - time));
    OK(launch(wide, stream));
    end = record(stream);
    CHECK_NEAR(cost_of(wide, stream), HALF_MS, 1000); /* the stream itself stayed where it was */
    CHECK(cuLaunchCooperativeKernel(wide, 2 * blocks, 1, 1, 256, 1, 1, 0, stream, NULL) ==
          CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
}

/* --- several threads -------------------------------------------------------------------------- */

static CUcontext shared;
static CUstream streams[3];
static CUfunction shared_kernel;
static int enough;

static void *launch_many(void *count)
{
    uint64_t *launched = count;
    OK(cuCtxSetCurrent(shared));
    for (; !__atomic_load_n(&enough, __ATOMIC_ACQUIRE); ++*launched) {
        CUstream stream = streams[*launched % 3];
        OK(cuLaunchKernel(shared_kernel, 1, 1, 1, 32, 1, 1, 0, stream, NULL, NULL));
        if (*launched % 64 == 0)
            OK(cuStreamSynchronize(stream));
    }
    return NULL;
}

static void threads_share_streams_while_they_move(void)
{
    pthread_t thread[3];
    uint64_t launched[3] = {0};
    shared = start();
    shared_kernel = kernel("narrow_us");
    streams[1] = new_stream(CU_STREAM_NON_BLOCKING);
    streams[2] = new_stream(CU_STREAM_DEFAULT);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&thread[i], NULL, launch_many, &launched[i]) == 0);
    static const uint64_t sizes[] = {HALF, ALL, QUARTER};
    for (int i = 0; i < 1000 && slot()->resizes < 20; i++) {
        write_limits(sizes[i % 3], 1000, 1ull << 40);
        pause_us(3000);
    }
    __atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    OK(cuCtxSynchronize());
    CHECK(slot()->launches == launched[0] + launched[1] + launched[2]);
    CHECK(slot()->ungated_launches == 0);
    CHECK(slot()->resizes >= 20);
}

/* --- where there can be no partition --------------------------------------------------------- */

static double share_of_a_second(CUfunction function, CUstream stream)
{
    int64_t begin = now_ns();
    int count = 0;
    for (; now_ns() - begin < 1000000000; count++) {
        OK(launch(function, stream));
        OK(cuStreamSynchronize(stream));
    }
    return count * MS / 1e9;
}

static void without_partitions_time_stands_in(void)
{
    CUcontext other;
    start();
    OK(cuCtxCreate_v2(&other, 0, 0));
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction wide = kernel("wide_ms");
    write_limits(HALF, 1000, 1ull << 40);
    pause_us(50000);
    CHECK_NEAR(cost_of(wide, stream), MS, 1000);
    check_share(share_of_a_second(wide, stream), 64 / 132.0);
}

MAIN(CASE(work_runs_on_the_granted_sms_and_follows_each_change),
     CASE(what_is_in_force_is_reported),
     CASE(limits_that_wait_for_work_are_in_force_soon_after_it), CASE(a_silent_per_thread_stream_holds_nothing_up),
     CASE(the_order_of_a_stream_survives_moves),
     CASE(the_null_stream_keeps_its_rules_on_a_partition),
     CASE(a_synchronous_copy_comes_after_the_null_stream),
     CASE(waiting_for_the_context_waits_for_moved_streams),
     CASE(a_stream_destroyed_with_work_finishes_it),
     CASE(a_cooperative_launch_that_does_not_fit_runs_on_the_most),
     CASE(threads_share_streams_while_they_move), CASE(without_partitions_time_stands_in))
