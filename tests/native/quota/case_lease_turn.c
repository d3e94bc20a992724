/* How long a turn lasts that another pod waits for. */
#include <pthread.h>

#include "lease_case.h"

/* Milliseconds of a turn that another pod waits for. A busy machine makes one seem longer, or ends it
 * early, so of some the least or the longest. */
static double turn_ms(bool spends, uint64_t conflicts, bool longest)
{
    pthread_t program;
    double best = longest ? 0 : 1000;
    share(1000, 0);
    int64_t until = now_ns() + 700 * 1000000ll;
    CHECK(pthread_create(&program, NULL, keep_launching, &until) == 0);
    for (int i = 0; i < 5; i++) {
        CHECK(becomes(&leases->running, MINE, true, 500));
        leases->slots[2].spends_at_ns = spends ? now_ns() : 0;
        int64_t began = __atomic_load_n(&leases->slots[1].since_ns, __ATOMIC_RELAXED);
        let_in_ms(conflicts);
        double took = (double)(now_ns() - began) / MS;
        best = (took > best) == longest ? took : best;
        clear(&leases->running, OTHER);
    }
    pthread_join(program, NULL);
    return best;
}

static void who_spends_its_quota_waits_for_half_a_window_and_others_for_a_slice(void)
{
    CHECK(turn_ms(false, MINE, false) < 22);
    CHECK(turn_ms(true, MINE, true) > 25);
}

static void who_overlaps_a_third_waits_for_a_slice_whatever_it_spends(void)
{
    CHECK(turn_ms(true, MINE | FAR, false) < 22);
}

static void *launch_now_and_then(void *until)
{
    OK(cuCtxSetCurrent(primary_context()));
    for (; now_ns() < *(int64_t *)until; pause_us(5000))
        OK(launch(half, stream));
    return NULL;
}

static bool says_that_it_spends(void *(*program)(void *))
{
    pthread_t thread;
    share(300, 0);
    int64_t until = now_ns() + 8 * WINDOW;
    leases->slots[1].spends_at_ns = 0;
    CHECK(pthread_create(&thread, NULL, program, &until) == 0);
    pthread_join(thread, NULL);
    return leases->slots[1].spends_at_ns != 0;
}

static void a_pod_says_when_its_quota_is_what_holds_it_back(void)
{
    CHECK(!says_that_it_spends(launch_now_and_then));
    CHECK(says_that_it_spends(keep_launching));
}

MAIN(CASE(who_spends_its_quota_waits_for_half_a_window_and_others_for_a_slice),
     CASE(who_overlaps_a_third_waits_for_a_slice_whatever_it_spends),
     CASE(a_pod_says_when_its_quota_is_what_holds_it_back))
