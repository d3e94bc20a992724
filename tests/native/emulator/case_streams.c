/* Streams, events and their ordering, on the virtual clock. */
#include <pthread.h>

#include "driver_case.h"

static void kernels_of_one_stream_run_one_after_the_other(void)
{
    primary_context();
    CUfunction narrow = kernel("narrow_ms");
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent start = record(stream);
    for (int i = 0; i < 5; i++)
        OK(launch(narrow, stream));
    CHECK_NEAR(between_ns(start, record(stream)), 5 * MS, 100);
}

static void kernels_of_two_streams_run_together(void)
{
    primary_context();
    CUfunction narrow = kernel("narrow_ms");
    CUstream a = new_stream(CU_STREAM_NON_BLOCKING), b = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent start = record(a);
    OK(launch(narrow, a));
    OK(launch(narrow, b));
    CHECK_NEAR(between_ns(start, record(a)), MS, 100);
    CHECK_NEAR(between_ns(start, record(b)), MS, 100);
}

static void the_null_stream_waits_for_blocking_streams_and_they_for_it(void)
{
    primary_context();
    CUfunction narrow = kernel("narrow_ms");
    CUstream a = new_stream(CU_STREAM_DEFAULT), b = new_stream(CU_STREAM_DEFAULT);
    CUevent start = record(a);
    OK(launch(narrow, a));
    OK(launch(narrow, NULL));
    OK(launch(narrow, b));
    CHECK_NEAR(between_ns(start, record(b)), 3 * MS, 100);
}

static void a_non_blocking_stream_ignores_the_null_stream(void)
{
    primary_context();
    CUfunction narrow = kernel("narrow_ms");
    CUstream a = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent start = record(a);
    OK(launch(narrow, NULL));
    OK(launch(narrow, a));
    CHECK_NEAR(between_ns(start, record(a)), MS, 100);
    OK(cuCtxSynchronize());
}

static void *launch_on_own_stream(void *event)
{
    CUcontext context;
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    OK(launch(kernel("narrow_ms"), CU_STREAM_PER_THREAD));
    OK(cuEventRecord(*(CUevent *)event, CU_STREAM_PER_THREAD));
    OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    return NULL;
}

static void each_thread_has_a_default_stream_of_its_own(void)
{
    primary_context();
    CUevent start = record(CU_STREAM_PER_THREAD), theirs = new_event();
    OK(launch(kernel("narrow_ms"), CU_STREAM_PER_THREAD));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, launch_on_own_stream, &theirs) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    OK(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    CHECK(between_ns(start, theirs) < 2.01 * MS);
    CHECK_NEAR(between_ns(start, record(CU_STREAM_PER_THREAD)) - between_ns(start, theirs), 0, MS);
    unsigned long long mine, legacy;
    OK(cuStreamGetId(CU_STREAM_PER_THREAD, &mine));
    OK(cuStreamGetId(CU_STREAM_LEGACY, &legacy));
    CHECK(mine != legacy);
}

static void an_event_orders_two_streams(void)
{
    primary_context();
    CUfunction narrow = kernel("narrow_ms");
    CUstream a = new_stream(CU_STREAM_NON_BLOCKING), b = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent start = record(a);
    OK(launch(narrow, a));
    CUevent between = record(a);
    OK(cuStreamWaitEvent(b, between, 0));
    OK(launch(narrow, b));
    CHECK_NEAR(between_ns(start, record(b)), 2 * MS, 100);
}

static void queries_tell_pending_from_done(void)
{
    primary_context();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(launch(kernel("narrow_ms"), stream));
    CUevent event = record(stream);
    float ms;
    CHECK(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
    CHECK(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    CHECK(cuEventElapsedTime(&ms, event, event) == CUDA_ERROR_NOT_READY);
    OK(hasEmulatorAdvanceClock(0, 999999));
    CHECK(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
    OK(hasEmulatorAdvanceClock(0, 2));
    OK(cuEventQuery(event));
    OK(cuStreamQuery(stream));
}

static void the_clock_moves_only_when_told_or_waited_for(void)
{
    primary_context();
    int64_t before, after;
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(hasEmulatorGetClock(0, &before));
    OK(launch(kernel("floor_ms"), stream));
    OK(hasEmulatorGetClock(0, &after));
    CHECK(after == before);
    OK(cuStreamSynchronize(stream));
    OK(hasEmulatorGetClock(0, &after));
    CHECK_NEAR(after - before, MS, 2);
}

static int order[2], calls;

static void remember(void *data)
{
    order[calls++] = *(int *)data;
}

static void host_functions_run_in_stream_order(void)
{
    primary_context();
    CUfunction narrow = kernel("narrow_ms");
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    int first = 1, second = 2;
    OK(launch(narrow, stream));
    OK(cuLaunchHostFunc(stream, remember, &first));
    OK(launch(narrow, stream));
    OK(cuLaunchHostFunc(stream, remember, &second));
    OK(cuStreamSynchronize(stream));
    CHECK(calls == 2 && order[0] == 1 && order[1] == 2);
}

static void a_full_queue_makes_the_launch_wait(void)
{
    primary_context();
    CUfunction narrow = kernel("narrow_ms");
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent start = record(stream);
    for (int i = 0; i < 3000; i++)
        OK(launch(narrow, stream));
    CHECK_NEAR(between_ns(start, record(stream)), 3000 * MS, 1e4);
}

MAIN(CASE(kernels_of_one_stream_run_one_after_the_other),
     CASE(kernels_of_two_streams_run_together),
     CASE(the_null_stream_waits_for_blocking_streams_and_they_for_it),
     CASE(a_non_blocking_stream_ignores_the_null_stream),
     CASE(each_thread_has_a_default_stream_of_its_own), CASE(an_event_orders_two_streams),
     CASE(queries_tell_pending_from_done), CASE(the_clock_moves_only_when_told_or_waited_for),
     CASE(host_functions_run_in_stream_order), CASE(a_full_queue_makes_the_launch_wait))
