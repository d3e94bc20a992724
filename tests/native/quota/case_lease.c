/* The lease protocol seen from one process of a pod. */
#include <pthread.h>

#include "lease_case.h"

static void *run_for(void *ms)
{
    int64_t end = now_ns() + *(int *)ms * 1000000ll;
    say(&leases->slots[2].renewed_at_ns);
    set(&leases->running, OTHER);
    for (; now_ns() < end; pause_us(500))
        say(&leases->slots[2].renewed_at_ns);
    clear(&leases->running, OTHER);
    return NULL;
}

static void a_launch_waits_for_a_pod_it_conflicts_with_and_for_no_other(void)
{
    pthread_t other;
    int ms = 150;
    share(500, 0);
    say(&leases->slots[3].renewed_at_ns);
    set(&leases->running, FAR);
    CHECK(launch_ms() < 500);
    OK(cuStreamSynchronize(stream));
    CHECK(becomes(&leases->running, MINE, false, 1000));
    CHECK(slot()->lease_wait_ns == 0);
    CHECK(pthread_create(&other, NULL, run_for, &ms) == 0);
    CHECK(becomes(&leases->running, OTHER, true, 1000));
    double took = launch_ms();
    CHECK(took > 100 && took < 1500);
    /* Half of three windows, which it could not spend; as much is not kept otherwise. */
    CHECK(__atomic_load_n(&usage->balance_ns, __ATOMIC_RELAXED) > 40 * 1000000ll);
    CHECK(load(&leases->slots[1].conflicts) == OTHER);
    CHECK(load(&leases->running) & MINE && !(load(&leases->running) & OTHER));
    CHECK(slot()->lease_wait_ns > 100000000);
    CHECK(slot()->ungated_launches == 0 && slot()->leases == 2);
    pthread_join(other, NULL);
}

static void who_is_silent_for_two_windows_is_stepped_over(void)
{
    share(500, 0);
    say(&leases->slots[2].renewed_at_ns);
    set(&leases->running, OTHER);
    double took = launch_ms();
    CHECK(took > 90 && took < 1500);
    CHECK(!(load(&leases->running) & OTHER));
    /* A waiter that died is forgotten as well, and takes nobody's turn. */
    leases->slots[2].waits_since_ns = leases->slots[2].waits_at_ns = now_ns() - 3 * WINDOW;
    set(&leases->waiting, OTHER);
    OK(cuStreamSynchronize(stream));
    CHECK(becomes(&leases->running, MINE, false, 1000));
    CHECK(launch_ms() < 500);
    CHECK(!(load(&leases->waiting) & OTHER));
}

static void a_lease_is_renewed_and_given_up_when_nothing_is_in_flight(void)
{
    share(1000, 0);
    limits->max_outstanding_ns = 1000000000;
    resize(ALL, 1000);
    CUfunction one_ms = kernel("wide_ms");
    for (int i = 0; i < 40; i++)
        OK(launch(one_ms, stream));
    int64_t began = now_ns(), renewed = 0;
    while (renewed < began && cuStreamQuery(stream) == CUDA_ERROR_NOT_READY)
        renewed = __atomic_load_n(&leases->slots[1].renewed_at_ns, __ATOMIC_RELAXED);
    CHECK(renewed > began && load(&leases->running) & MINE);
    OK(cuStreamSynchronize(stream));
    CHECK(becomes(&leases->running, MINE, false, 500));
    CHECK(slot()->lease_at_ns == 0);
}

static void a_waiter_gets_in_after_a_slice_and_no_launch_passes_it(void)
{
    pthread_t program;
    int64_t until = now_ns() + 400 * 1000000ll;
    share(1000, 0); /* its budget alone would never end its turn */
    CHECK(pthread_create(&program, NULL, keep_launching, &until) == 0);
    CHECK(becomes(&leases->running, MINE, true, 500));
    CHECK(let_in_ms(MINE) < 200);
    /* At most what may be in flight was launched before; now nothing more is. */
    uint64_t launched = slot()->launches;
    pause_us(10000);
    CHECK(slot()->launches <= launched + 1 && !(load(&leases->running) & MINE));
    clear(&leases->running, OTHER);
    CHECK(becomes(&leases->running, MINE, true, 200));
    CHECK(slot()->ungated_launches == 0);
    pthread_join(program, NULL);
}

static void *keep_two_in_flight(void *until)
{
    OK(cuCtxSetCurrent(primary_context()));
    CUfunction one_ms = kernel("wide_ms");
    CUevent done[2] = {new_event(), new_event()};
    for (unsigned i = 0; now_ns() < *(int64_t *)until; i++) {
        if (i > 1)
            OK(cuEventSynchronize(done[i % 2]));
        OK(launch(one_ms, stream));
        OK(cuEventRecord(done[i % 2], stream));
    }
    return NULL;
}

/* It is never idle, never without budget, and never has too much in flight. */
static void a_waiter_gets_in_where_nothing_else_ends_a_turn(void)
{
    pthread_t program;
    share(1000, 0);
    limits->max_outstanding_ns = 2 * WINDOW;
    limits->window_ns = 20 * WINDOW;
    resize(ALL, 1000);
    int64_t until = now_ns() + 800 * 1000000ll;
    CHECK(pthread_create(&program, NULL, keep_two_in_flight, &until) == 0);
    CHECK(becomes(&leases->running, MINE, true, 500));
    pause_us(50000);
    CHECK(let_in_ms(MINE) < 200);
    clear(&leases->running, OTHER);
    pthread_join(program, NULL);
}

static void *keep_launching_alone(void *until)
{
    OK(cuCtxSetCurrent(primary_context()));
    while (now_ns() < *(int64_t *)until)
        OK(launch(half, CU_STREAM_PER_THREAD));
    return NULL;
}

/* Only the thread itself can put an event there; nobody else could see its work end. */
static void a_thread_on_its_own_default_stream_ends_its_turn_as_soon(void)
{
    pthread_t program;
    double best = 1000;
    share(1000, 0);
    limits->lease_slice_ns = 1000000;
    resize(ALL, 1000);
    int64_t until = now_ns() + 400 * 1000000ll;
    CHECK(pthread_create(&program, NULL, keep_launching_alone, &until) == 0);
    for (int i = 0; i < 6; i++) {
        CHECK(becomes(&leases->running, MINE, true, 500));
        double took = let_in_ms(MINE);
        best = took < best ? took : best;
        clear(&leases->running, OTHER);
    }
    CHECK(best < 12);
    pthread_join(program, NULL);
}

static void idle_time_is_borrowed_and_given_back_at_once(void)
{
    pthread_t program;
    share(100, HAS_FLAG_BURST);
    int64_t begin = now_ns(), until = begin + 300 * 1000000ll;
    CHECK(pthread_create(&program, NULL, keep_launching, &until) == 0);
    pause_us(200000);
    /* A tenth of four windows is 20 ms; the GPU was its own. */
    uint64_t borrowed = __atomic_load_n(&slot()->borrowed_ns, __ATOMIC_RELAXED);
    CHECK(borrowed > 60000000);
    CHECK(__atomic_load_n(&usage->balance_ns, __ATOMIC_RELAXED) > -2 * 1000000ll);
    if (load(&leases->running) & MINE)
        CHECK(let_in_ms(MINE) < 200);
    clear(&leases->running, OTHER);
    pthread_join(program, NULL);
    CHECK(slot()->ungated_launches == 0);
}

static void without_the_flag_nothing_is_borrowed(void)
{
    pthread_t program;
    share(100, 0);
    int64_t until = now_ns() + 200 * 1000000ll;
    CHECK(pthread_create(&program, NULL, keep_launching, &until) == 0);
    pthread_join(program, NULL);
    CHECK(slot()->borrowed_ns == 0);
    CHECK(slot()->gpu_time_ns < 45000000);
}

static void who_lets_go_wakes_those_that_wait(void)
{
    share(900, 0);
    uint32_t before = __atomic_load_n(&leases->wake, __ATOMIC_SEQ_CST);
    OK(launch(kernel("wide_ms"), stream));
    leases->slots[2].waits_since_ns = leases->slots[2].waits_at_ns = now_ns() + WINDOW;
    set(&leases->waiting, OTHER);
    OK(cuStreamSynchronize(stream));
    CHECK(becomes(&leases->running, MINE, false, 1000));
    for (int i = 0; i < 1000 && __atomic_load_n(&leases->wake, __ATOMIC_SEQ_CST) == before; i++)
        pause_us(100); /* first the bit goes, then who waits is woken */
    CHECK(__atomic_load_n(&leases->wake, __ATOMIC_SEQ_CST) != before);
}

/* Another pod waits for a third one; the window is long, and with it the patience. */
static void wait_for_a_third(int64_t urgent_at_ns)
{
    share(900, 0);
    limits->window_ns = 20 * WINDOW;
    resize(ALL, 900);
    leases->slots[2].conflicts = FAR;
    leases->slots[2].waits_since_ns = leases->slots[2].waits_at_ns = now_ns();
    say(&leases->slots[3].renewed_at_ns);
    leases->slots[2].urgent_at_ns = urgent_at_ns;
    set(&leases->running, FAR);
    set(&leases->waiting, OTHER);
}

static void who_could_not_run_anyway_holds_nobody_up(void)
{
    wait_for_a_third(INT64_MAX);
    CHECK(launch_ms() < 700);
}

/* Until it has been silent for two windows. */
static void who_must_run_now_is_waited_for(void)
{
    wait_for_a_third(0);
    CHECK(launch_ms() > 900);
}

static int64_t says_it_is_urgent_at(bool losing)
{
    pthread_t program;
    share(250, 0);
    launch_ms(); /* the first window's budget */
    CHECK(becomes(&leases->running, MINE, false, 1000));
    usage->lost_ns = losing ? WINDOW : 0;
    say(&leases->slots[2].renewed_at_ns);
    set(&leases->running, OTHER);
    int64_t until = now_ns() + 30 * 1000000ll;
    CHECK(pthread_create(&program, NULL, keep_launching, &until) == 0);
    CHECK(becomes(&leases->waiting, MINE, true, 1000));
    int64_t at = __atomic_load_n(&leases->slots[1].urgent_at_ns, __ATOMIC_RELAXED);
    clear(&leases->running, OTHER);
    pthread_join(program, NULL);
    return at;
}

static void a_waiter_that_has_lost_time_says_from_when_on_it_must_run(void)
{
    int64_t at = says_it_is_urgent_at(true), end = (now_ns() / WINDOW + 1) * WINDOW;
    CHECK(at > end - 4 * WINDOW && at < end);
}

static void a_waiter_that_has_lost_nothing_is_never_urgent(void)
{
    CHECK(says_it_is_urgent_at(false) == INT64_MAX);
}

/* Held off for some windows with budget: more than one of them is not kept. */
static void what_a_pod_could_not_keep_counts_as_lost(void)
{
    pthread_t program;
    share(900, 0);
    int64_t end = now_ns() + 8 * WINDOW;
    say(&leases->slots[2].renewed_at_ns);
    set(&leases->running, OTHER);
    int64_t until = end;
    CHECK(pthread_create(&program, NULL, keep_launching, &until) == 0);
    for (; now_ns() < end; pause_us(1000))
        say(&leases->slots[2].renewed_at_ns);
    int64_t lost = __atomic_load_n(&usage->lost_ns, __ATOMIC_RELAXED);
    clear(&leases->running, OTHER);
    pthread_join(program, NULL);
    CHECK(lost > WINDOW && lost < 8 * WINDOW);
}

/* It may be waiting for the very launch that is held back. */
static void work_that_does_not_end_holds_nothing_up_for_long(void)
{
    static const char endless[] = "HASEMU 1\nkernel k work_sm_ns=132 floor_ns=4000000000 max_sm=1\n";
    CUmodule module;
    CUfunction four_s;
    double took = 0;
    share(10, 0);
    OK(cuModuleLoadData(&module, endless));
    OK(cuModuleGetFunction(&four_s, module, "k"));
    int64_t begin = now_ns();
    OK(launch(four_s, stream));
    while (took < 100 && now_ns() - begin < 2000 * 1000000ll)
        took = launch_ms();
    CHECK(took > 100 && now_ns() - begin < 2000 * 1000000ll);
    CHECK(slot()->ungated_launches > 0);
}

static void a_lease_that_was_lost_is_taken_again(void)
{
    share(900, 0);
    CHECK(launch_ms() < 500);
    clear(&leases->running, MINE); /* as a waiter does to one that was stopped */
    CHECK(launch_ms() < 500);
    CHECK(load(&leases->running) & MINE);
    CHECK(slot()->leases >= 2);
}

static void a_new_slot_begins_without_what_the_last_holder_left(void)
{
    share(900, 0);
    set(&leases->running, 1ull << 5);
    set(&leases->waiting, 1ull << 5);
    limits->lease_slot = 5;
    resize(ALL, 900);
    CHECK(!(load(&leases->running) & (1ull << 5)) && !(load(&leases->waiting) & (1ull << 5)));
    CHECK(launch_ms() < 500);
    CHECK(load(&leases->running) == (1ull << 5));
}

MAIN(CASE(a_launch_waits_for_a_pod_it_conflicts_with_and_for_no_other),
     CASE(who_is_silent_for_two_windows_is_stepped_over),
     CASE(a_lease_is_renewed_and_given_up_when_nothing_is_in_flight),
     CASE(a_waiter_gets_in_after_a_slice_and_no_launch_passes_it),
     CASE(a_waiter_gets_in_where_nothing_else_ends_a_turn),
     CASE(a_thread_on_its_own_default_stream_ends_its_turn_as_soon),
     CASE(idle_time_is_borrowed_and_given_back_at_once),
     CASE(without_the_flag_nothing_is_borrowed),
     CASE(who_could_not_run_anyway_holds_nobody_up), CASE(who_must_run_now_is_waited_for),
     CASE(a_waiter_that_has_lost_time_says_from_when_on_it_must_run),
     CASE(a_waiter_that_has_lost_nothing_is_never_urgent),
     CASE(what_a_pod_could_not_keep_counts_as_lost),
     CASE(who_lets_go_wakes_those_that_wait),
     CASE(work_that_does_not_end_holds_nothing_up_for_long),
     CASE(a_lease_that_was_lost_is_taken_again),
     CASE(a_new_slot_begins_without_what_the_last_holder_left))
