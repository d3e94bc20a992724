/* Partitions that are made before they are asked for, on a driver that takes 30 ms for each (see
 * FAULTS in test_cases.py). */
#include <pthread.h>

#include "pod_case.h"

#define GREEN_MS 30

static CUstream stream;
static CUfunction narrow;

static void name_next(const uint64_t *groups, unsigned count)
{
    __atomic_fetch_or(&limits->seq, 1, __ATOMIC_ACQ_REL);
    memset(limits->next_sm_groups, 0, sizeof limits->next_sm_groups);
    for (unsigned i = 0; i < count; i++)
        limits->next_sm_groups[i][0] = groups[i];
    limits->epoch++;
    __atomic_fetch_add(&limits->seq, 1, __ATOMIC_ACQ_REL);
}

static void work(void)
{
    OK(launch(narrow, stream));
    OK(cuStreamSynchronize(stream));
}

static void begin(void)
{
    start();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    narrow = kernel("narrow_us");
    work();
    resize(ALL, 1000);
}

static void work_until(const uint64_t *counter, uint64_t value)
{
    for (int i = 0; i < 4000 && __atomic_load_n(counter, __ATOMIC_RELAXED) < value; i++) {
        work();
        pause_us(500);
    }
    CHECK(__atomic_load_n(counter, __ATOMIC_RELAXED) == value);
}

/* Milliseconds from a write of limits until work goes to their partition. */
static double first_use(uint64_t groups)
{
    uint64_t resizes = slot()->resizes;
    int64_t began = now_ns();
    write_limits(groups, 1000, 1ull << 40);
    for (int i = 0; i < 20000 && slot()->resizes == resizes; i++) {
        work();
        pause_us(50);
    }
    CHECK(slot()->resizes == resizes + 1);
    double took = (double)(now_ns() - began) / MS;
    resize(groups, 1000);
    return took;
}

static void a_partition_that_nobody_named_is_waited_for_and_the_time_is_told(void)
{
    begin();
    struct has_usage_slot before = *slot();
    CHECK(first_use(HALF) > GREEN_MS);
    CHECK(slot()->partitions == 1 && slot()->partitions_ahead == 0);
    CHECK(slot()->make_context_ns - before.make_context_ns > GREEN_MS * MS);
    CHECK(slot()->make_split_ns > 0 && slot()->make_streams_ns > 0);
    CHECK(slot()->make_start_ns > 0 && slot()->make_start_ns < GREEN_MS * MS);
    CHECK(slot()->make_streams_ns + slot()->make_split_ns < GREEN_MS * MS);
}

static int by_size(const void *a, const void *b)
{
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

/* The driver of this case waits 25 times for what is in flight, 1 to 2 ms each, unless nothing is. */
static void work_rests_while_its_partition_is_made(void)
{
    double took[5];
    begin();
    CUfunction one_ms = kernel("narrow_ms");
    CUevent done[2] = {new_event(), new_event()};
    for (uint64_t groups = 1; groups < 6; groups++) {
        int64_t began = 0;
        work();
        resize(ALL, 1000);
        work();
        uint64_t resizes = slot()->resizes;
        for (unsigned i = 0; i < 10000 && slot()->resizes == resizes; i++) {
            if (i > 1)
                OK(cuEventSynchronize(done[i % 2]));
            if (i == 10) {
                write_limits(groups, 1000, 1ull << 40);
                began = now_ns();
            }
            OK(launch(one_ms, stream));
            OK(cuEventRecord(done[i % 2], stream));
        }
        took[groups - 1] = (double)(now_ns() - began) / MS;
    }
    qsort(took, 5, sizeof took[0], by_size);
    CHECK(took[2] < 15); /* the machine may be busy twice */
}

/* Longer than that the program does not wait for it. */
static void a_launch_is_held_back_for_a_bounded_time(void)
{
    double longest = 0;
    begin();
    uint64_t resizes = slot()->resizes;
    write_limits(HALF, 1000, 1ull << 40);
    for (int i = 0; i < 20000 && slot()->resizes == resizes; i++) {
        int64_t began = now_ns();
        OK(launch(narrow, stream));
        double took = (double)(now_ns() - began) / MS;
        longest = took > longest ? took : longest;
        OK(cuStreamSynchronize(stream));
    }
    CHECK(longest > 4 && longest < 0.9 * GREEN_MS);
    work();
    CHECK(slot()->resize_last_ns > 4 * MS && slot()->resize_last_ns < GREEN_MS * MS);
}

static void *write_again_and_again(void *until)
{
    for (uint64_t groups = 1; now_ns() < *(int64_t *)until; groups = groups % 200 + 1) {
        write_limits(groups, 1000, 1ull << 40);
        pause_us(3000);
    }
    return NULL;
}

static void nor_for_longer_when_limits_change_all_the_time(void)
{
    pthread_t writer;
    double longest = 0;
    begin();
    int64_t until = now_ns() + 600 * 1000000ll;
    CHECK(pthread_create(&writer, NULL, write_again_and_again, &until) == 0);
    while (now_ns() < until) {
        int64_t began = now_ns();
        OK(launch(narrow, stream));
        double took = (double)(now_ns() - began) / MS;
        longest = took > longest ? took : longest;
    }
    pthread_join(writer, NULL);
    CHECK(longest < 300);
}

static void one_that_was_named_is_there_at_once(void)
{
    static const uint64_t next[] = {HALF, QUARTER};
    double took[2];
    begin();
    name_next(next, 2);
    work_until(&slot()->partitions_ahead, 2);
    pause_us(100000); /* its streams as well */
    for (int i = 0; i < 2; i++)
        took[i] = first_use(next[i]);
    CHECK(took[0] < GREEN_MS / 2 || took[1] < GREEN_MS / 2); /* the machine may be busy once */
    CHECK(slot()->partitions == 2);
    CHECK_NEAR(cost_of(kernel("wide_ms"), stream), 132.0 / 32 * MS, 1000);
}

static void a_stream_made_later_has_its_place_on_it_too(void)
{
    static const uint64_t next[] = {HALF};
    begin();
    name_next(next, 1);
    work_until(&slot()->partitions_ahead, 1);
    pause_us(100000);
    stream = new_stream(CU_STREAM_NON_BLOCKING); /* each takes 20 ms on a partition */
    work();
    pause_us(200000);
    work();
    CHECK(first_use(HALF) < 20);
    CHECK(slot()->resize_last_ns < 20 * MS);
}

/* The driver of this case has room for 11 at a time. */
static void what_nobody_used_makes_room_and_what_was_used_stays(void)
{
    begin();
    resize(HALF, 1000);
    resize(QUARTER, 1000);
    for (uint64_t round = 0; round < 5; round++) {
        uint64_t next[4];
        for (uint64_t i = 0; i < 4; i++)
            next[i] = 0x11ull << (4 * round + i) % 12 | round << 13 | 1;
        name_next(next, 4);
        work_until(&slot()->partitions_ahead, 4 * round + 4);
    }
    CHECK(slot()->partitions == 22);
    resize(HALF, 1000);
    resize(QUARTER, 1000);
    CHECK(slot()->partitions == 22);
    CHECK_NEAR(cost_of(kernel("wide_ms"), stream), 132.0 / 32 * MS, 1000);
}

/* One was made; then the driver refuses. */
static void one_that_cannot_be_had_is_not_asked_for_again(void)
{
    static const uint64_t next[] = {HALF, QUARTER};
    begin();
    name_next(next, 2);
    work_until(&slot()->partitions_ahead, 1);
    for (int i = 0; i < 200; i++) {
        work();
        pause_us(1000);
    }
    CHECK(slot()->make_context_ns > 1.5 * GREEN_MS * MS);
    CHECK(slot()->make_context_ns < 2.9 * GREEN_MS * MS);
    CHECK(first_use(HALF) < 1000);
}

static void what_is_asked_for_does_not_wait_for_all_that_may_come(void)
{
    static const uint64_t next[] = {0x3, 0x7, 0x1f, 0x3f, 0x7f, 0x1ff, 0x3ff, 0x7ff};
    begin();
    name_next(next, 8);
    work_until(&slot()->partitions_ahead, 1);
    CHECK(first_use(QUARTER) < 6 * GREEN_MS);
    CHECK(slot()->partitions_ahead < 6);
}

MAIN(CASE(a_partition_that_nobody_named_is_waited_for_and_the_time_is_told),
     CASE(work_rests_while_its_partition_is_made), CASE(a_launch_is_held_back_for_a_bounded_time),
     CASE(nor_for_longer_when_limits_change_all_the_time),
     CASE(one_that_was_named_is_there_at_once), CASE(a_stream_made_later_has_its_place_on_it_too),
     CASE(what_nobody_used_makes_room_and_what_was_used_stays),
     CASE(one_that_cannot_be_had_is_not_asked_for_again),
     CASE(what_is_asked_for_does_not_wait_for_all_that_may_come))
