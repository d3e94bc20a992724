/* The simulated GPU as a function of time, without lock, clock or driver. */
#include "../../../quota_runtime/emulator/engine.h"
#include "check.h"

#define STEPS 1000000
#define WIDE_WORK 132000.0 /* 1000 ns on all SMs */

static struct emu_gpu *new_gpu(void)
{
    struct emu_gpu *gpu = calloc(1, sizeof *gpu);
    CHECK(gpu);
    gpu->sm_count = 132;
    gpu->sm_group_size = 8;
    gpu->memory_bytes = 1000;
    gpu->processes[0].pid = 1;
    gpu->processes[1].pid = 2;
    return gpu;
}

static uint32_t queue_of(struct emu_gpu *gpu, uint32_t process)
{
    int queue = engine_take_queue(gpu, process);
    CHECK(queue >= 0);
    return (uint32_t)queue;
}

static void push_wide(struct emu_gpu *gpu, uint32_t queue, int64_t at)
{
    struct sm_set all = sm_set_range(0, 132);
    struct emu_op op = engine_kernel(&all, WIDE_WORK, 0, 132);
    op.submit_ns = at;
    CHECK(engine_push(gpu, queue, op));
}

static uint32_t push_event(struct emu_gpu *gpu, uint32_t queue, int64_t at)
{
    int event = engine_take_event(gpu, 0);
    CHECK(event >= 0);
    CHECK(engine_push(gpu, queue, (struct emu_op){.kind = OP_EVENT, .index = (uint32_t)event,
                                                  .target = 1, .submit_ns = at}));
    return (uint32_t)event;
}

static int64_t time_of(const struct emu_gpu *gpu, uint32_t event)
{
    CHECK(gpu->events[event].done == 1);
    return gpu->events[event].at_ns;
}

static double alone_ns(unsigned sms, double work, double floor, double max_sm)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t queue = queue_of(gpu, 0);
    struct sm_set set = sm_set_range(0, sms);
    CHECK(engine_push(gpu, queue, engine_kernel(&set, work, floor, max_sm)));
    uint32_t end = push_event(gpu, queue, 0);
    CHECK(engine_advance(gpu, 100000000, STEPS));
    double took = (double)time_of(gpu, end);
    free(gpu);
    return took;
}

static void a_kernel_alone_takes_the_larger_of_floor_and_work(void)
{
    CHECK_NEAR(alone_ns(132, 1320000, 2000, 132), 10000, 1);
    CHECK_NEAR(alone_ns(66, 1320000, 2000, 132), 20000, 1);
    CHECK_NEAR(alone_ns(132, 1320000, 2000, 33), 40000, 1);
    CHECK_NEAR(alone_ns(132, 1320, 2000, 132), 2000, 1);
    CHECK_NEAR(alone_ns(8, 1320, 2000, 132), 2000, 1);
}

static void two_queues_take_twice_as_long_together(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0), b = queue_of(gpu, 1);
    push_wide(gpu, a, 0);
    push_wide(gpu, b, 0);
    uint32_t ends[] = {push_event(gpu, a, 0), push_event(gpu, b, 0)};
    CHECK(engine_advance(gpu, 10000, STEPS));
    CHECK_NEAR(time_of(gpu, ends[0]), 2000, 1);
    CHECK_NEAR(time_of(gpu, ends[1]), 2000, 1);
    CHECK_NEAR(gpu->busy_ns, 2000, 1);
    CHECK_NEAR(gpu->busy_sm_ns, 2 * WIDE_WORK, 200);
    CHECK_NEAR(gpu->processes[0].sm_ns, WIDE_WORK, 200);
    free(gpu);
}

static void the_books_say_who_shared_sms_and_for_how_long(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0), b = queue_of(gpu, 1), own = queue_of(gpu, 1);
    push_wide(gpu, a, 0);
    push_wide(gpu, b, 500);
    push_wide(gpu, own, 4000);
    CHECK(engine_advance(gpu, 10000, STEPS));
    CHECK_NEAR(gpu->processes[0].shared_ns, 1000, 2);
    CHECK_NEAR(gpu->processes[1].shared_ns, 1000, 2);
    free(gpu);
}

static void a_late_arrival_slows_only_what_is_left(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0), b = queue_of(gpu, 1);
    push_wide(gpu, a, 0);
    uint32_t end_a = push_event(gpu, a, 0);
    push_wide(gpu, b, 500); /* submitted but not looked at before 10000 */
    uint32_t end_b = push_event(gpu, b, 500);
    CHECK(engine_advance(gpu, 10000, STEPS));
    CHECK_NEAR(time_of(gpu, end_a), 1500, 2);
    CHECK_NEAR(time_of(gpu, end_b), 2000, 2);
    free(gpu);
}

static void looking_often_changes_nothing(void)
{
    int64_t ends[2];
    for (int often = 0; often < 2; often++) {
        struct emu_gpu *gpu = new_gpu();
        uint32_t a = queue_of(gpu, 0), b = queue_of(gpu, 1);
        for (int i = 0; i < 5; i++)
            push_wide(gpu, a, i * 100);
        for (int i = 0; i < 3; i++)
            push_wide(gpu, b, i * 700);
        uint32_t end = push_event(gpu, a, 400);
        for (int64_t now = 1; often && now < 20000; now += 13)
            CHECK(engine_advance(gpu, now, STEPS));
        CHECK(engine_advance(gpu, 20000, STEPS));
        ends[often] = time_of(gpu, end);
        free(gpu);
    }
    CHECK_NEAR(ends[0], ends[1], 30);
}

static void work_can_be_done_in_pieces(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0);
    for (int i = 0; i < 100; i++)
        push_wide(gpu, a, 0);
    CHECK(!engine_advance(gpu, 200000, 10));
    CHECK(gpu->queues[a].head > 5 && gpu->queues[a].head <= 11);
    int calls = 1;
    while (!engine_advance(gpu, 200000, 10))
        calls++;
    CHECK(calls >= 9);
    CHECK(gpu->queues[a].head == 100);
    free(gpu);
}

static void a_wait_ends_when_the_other_queue_is_there(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0), b = queue_of(gpu, 0);
    push_wide(gpu, a, 0);
    CHECK(engine_push(gpu, b, (struct emu_op){.kind = OP_WAIT, .index = a, .target = 1}));
    uint32_t end = push_event(gpu, b, 0);
    CHECK_NEAR(engine_bound(gpu, b, 1), 1000, 1);
    CHECK(engine_advance(gpu, 999, STEPS));
    CHECK(gpu->events[end].done == 0);
    CHECK(engine_advance(gpu, 1001, STEPS));
    CHECK_NEAR(time_of(gpu, end), 1000, 1);
    free(gpu);
}

static void the_bound_is_never_later_than_the_end(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0), b = queue_of(gpu, 1);
    for (int i = 0; i < 4; i++) {
        push_wide(gpu, a, 0);
        push_wide(gpu, b, 0);
    }
    int64_t bound = 0;
    for (int looks = 0; gpu->queues[a].head < 4; looks++) {
        CHECK(engine_advance(gpu, bound > gpu->at_ns ? bound : gpu->at_ns + 1, STEPS));
        bound = engine_bound(gpu, a, 4);
        CHECK(bound <= 8001);
        CHECK(looks < 40); /* each look halves what is left */
    }
    CHECK_NEAR(gpu->at_ns, 8000, 40);
    free(gpu);
}

static void a_full_queue_refuses(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0);
    for (int i = 0; i < EMU_RING; i++)
        push_wide(gpu, a, 0);
    CHECK(!engine_push(gpu, a, engine_delay(5)));
    CHECK(engine_advance(gpu, 1500, STEPS));
    CHECK(engine_push(gpu, a, engine_delay(5)));
    free(gpu);
}

static void a_closed_queue_is_free_when_it_is_empty(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0);
    push_wide(gpu, a, 0);
    engine_close_queue(gpu, a);
    CHECK(queue_of(gpu, 0) != a);
    CHECK(engine_advance(gpu, 2000, STEPS));
    CHECK(queue_of(gpu, 0) == a);
    CHECK(gpu->queues[a].head == 1); /* numbers go on, so that old waits stay satisfied */
    free(gpu);
}

static void a_destroyed_event_is_free_after_its_last_record(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0);
    push_wide(gpu, a, 0);
    uint32_t event = push_event(gpu, a, 0);
    engine_close_event(gpu, event, 1);
    CHECK(gpu->events[event].owner != 0);
    CHECK(engine_advance(gpu, 2000, STEPS));
    CHECK(gpu->events[event].owner == 0);
    free(gpu);
}

static void a_dropped_process_leaves_nothing(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0), b = queue_of(gpu, 1);
    for (int i = 0; i < 100; i++)
        push_wide(gpu, a, 0);
    push_wide(gpu, b, 0);
    gpu->processes[0].memory_bytes = 600;
    gpu->processes[1].memory_bytes = 300;
    gpu->memory_used = 900;
    CHECK(engine_advance(gpu, 1000, STEPS));
    engine_drop_process(gpu, 0);
    CHECK(gpu->processes[0].pid == 0);
    CHECK(gpu->memory_used == 300);
    uint32_t end = push_event(gpu, b, 1000);
    CHECK(engine_advance(gpu, 5000, STEPS));
    CHECK_NEAR(time_of(gpu, end), 1500, 2); /* half done at half speed, the rest alone */
    CHECK(engine_next(gpu) == ENGINE_NEVER);
    free(gpu);
}

static void recovery_finds_work_that_lost_its_mark(void)
{
    struct emu_gpu *gpu = new_gpu();
    uint32_t a = queue_of(gpu, 0);
    push_wide(gpu, a, 0);
    memset(gpu->active, 0, sizeof gpu->active);
    gpu->memory_used = 77;
    engine_recover(gpu);
    CHECK(gpu->memory_used == 0);
    CHECK(engine_advance(gpu, 2000, STEPS));
    CHECK(gpu->queues[a].head == 1);
    free(gpu);
}

MAIN(CASE(a_kernel_alone_takes_the_larger_of_floor_and_work),
     CASE(two_queues_take_twice_as_long_together),
     CASE(the_books_say_who_shared_sms_and_for_how_long), CASE(a_late_arrival_slows_only_what_is_left),
     CASE(looking_often_changes_nothing), CASE(work_can_be_done_in_pieces),
     CASE(a_wait_ends_when_the_other_queue_is_there), CASE(the_bound_is_never_later_than_the_end),
     CASE(a_full_queue_refuses), CASE(a_closed_queue_is_free_when_it_is_empty),
     CASE(a_destroyed_event_is_free_after_its_last_record), CASE(a_dropped_process_leaves_nothing),
     CASE(recovery_finds_work_that_lost_its_mark))
