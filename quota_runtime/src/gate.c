/* The time quota: a launch starts only while the pod's budget of the quota window lasts.
 *
 * The balance lies in the usage file, so the processes of a pod spend one budget. A launch takes
 * its estimate in advance and the meter settles the difference, so what is in flight is counted.
 */
#include <errno.h>
#include <immintrin.h>
#include <time.h>

#include "budget.h"
#include "capture.h"
#include "lease.h"
#include "lease_rules.h"
#include "making.h"
#include "meter.h"
#include "sm.h"
#include "state.h"

#define NAP_NS 1000000ull
#define SPIN_NS 120000ull /* of 50 ms, while others have the GPU */
#define QUIESCE_WAIT_NS 2000000000ull
#define MOST_PASSED 1000u /* windows; more do not make a loss greater */

atomic_uint has_share_ppm = HAS_PPM;

static void nap(uint64_t ns)
{
    struct timespec wait = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    while (nanosleep(&wait, &wait) != 0 && errno == EINTR)
        continue;
}

/* Grants the budget of windows that began since the last look; one process of the pod wins. */
static void credit(const struct has_view *view, uint64_t now)
{
    struct has_usage_header *usage = has_usage();
    uint64_t window = has_window_at(now, view->window_ns, view->phase_ns);
    uint64_t last = __atomic_load_n(&usage->quota_window, __ATOMIC_ACQUIRE);
    if (last == window ||
        !__atomic_compare_exchange_n(&usage->quota_window, &last, window, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return;
    /* Another window length renumbers the windows: that counts as one. */
    uint64_t passed = window > last ? window - last : 1;
    int64_t budget = has_budget_of(view->window_ns, atomic_load(&has_share_ppm));
    uint64_t waited = __atomic_exchange_n(&usage->waited_ns, 0, __ATOMIC_RELAXED);
    int64_t keep = has_lease_keep(view->max_outstanding_ns, waited, view->window_ns);
    int64_t old = __atomic_load_n(&usage->balance_ns, __ATOMIC_RELAXED), next;
    do
        next = has_budget_credit(old, passed, budget, keep);
    while (!__atomic_compare_exchange_n(&usage->balance_ns, &old, next, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED));
    int64_t lost = __atomic_load_n(&usage->lost_ns, __ATOMIC_RELAXED);
    int64_t cut = old + (int64_t)(passed < MOST_PASSED ? passed : MOST_PASSED) * budget - next;
    __atomic_store_n(&usage->lost_ns, has_lease_lost(lost, passed, cut, waited), __ATOMIC_RELAXED);
    int64_t spent = __atomic_exchange_n(&usage->credited_ns, next, __ATOMIC_RELAXED) - old;
    uint64_t late = now - (has_window_end(now, view->window_ns, view->phase_ns) - view->window_ns);
    if (view->flags & HAS_VIEW_LEASED &&
        has_lease_spends(spent, budget, passed, late, view->window_ns))
        has_lease_spent(view, now);
}

bool has_gate_loses(const struct has_view *view)
{
    return has_lease_loses(__atomic_load_n(&has_usage()->lost_ns, __ATOMIC_RELAXED),
                           has_budget_of(view->window_ns, atomic_load(&has_share_ppm)));
}

int64_t has_gate_balance(const struct has_view *view, uint64_t now_ns)
{
    credit(view, now_ns);
    return __atomic_load_n(&has_usage()->balance_ns, __ATOMIC_RELAXED);
}

static uint64_t take(uint64_t estimate)
{
    __atomic_fetch_sub(&has_usage()->balance_ns, (int64_t)estimate, __ATOMIC_RELAXED);
    return estimate;
}

static bool held(const struct has_view *view)
{
    return view->flags & HAS_FLAG_QUIESCE;
}

static bool leased(const struct has_view *view)
{
    return view->flags & HAS_VIEW_LEASED;
}

static bool limited(uint32_t sms)
{
    return atomic_load_explicit(&has_share_ppm, memory_order_relaxed) < HAS_PPM ||
           sms > has_sm_unpriced();
}

/* Until the window ends, a nap at most, so that a change of limits is seen soon. A sleep ends late;
 * what a turn loses at its begin it would take from the next one's pod, so the last bit is spun. */
static void wait_a_little(const struct has_view *view, uint64_t now)
{
    uint64_t end = has_window_end(now, view->window_ns, view->phase_ns), left = end - now;
    has_meter_harvest();
    if (left > SPIN_NS)
        nap(left - SPIN_NS < NAP_NS ? left - SPIN_NS : NAP_NS);
    else
        while (has_now_ns() < end)
            _mm_pause();
}

/* As long as nothing is decided, with a little wait; tells whether the launch may go. */
static bool step(const struct has_view **view, struct has_lane *lane, uint32_t sms,
                 uint64_t *now, bool *borrowed)
{
    enum has_lease_step step = HAS_LEASE_WAITED;
    if (leased(*view) && !held(*view))
        step = has_lease_step(*view, lane, *now);
    else
        wait_a_little(*view, *now);
    *borrowed = step == HAS_LEASE_BORROWED;
    if (step != HAS_LEASE_WAITED)
        return true;
    *now = has_now_ns();
    const struct has_view *fresh = has_limits_now();
    *view = fresh ? fresh : *view;
    if (held(*view) || leased(*view))
        return false;
    return !limited(sms) || has_gate_balance(*view, *now) > 0;
}

static uint64_t wait_for_budget(const struct has_view *view, struct has_lane *lane, uint32_t sms,
                                uint64_t began, bool *borrowed)
{
    uint64_t now = began;
    /* What is open ends first: the pause is not GPU time. Under a lease there may be none. */
    if (lane && !leased(view))
        has_meter_close(lane);
    do {
        uint64_t longest = held(view) ? QUIESCE_WAIT_NS : has_longest_wait(view->window_ns);
        if (now - began > longest) {
            HAS_COUNT(ungated_launches, 1);
            break;
        }
    } while (!step(&view, lane, sms, &now, borrowed));
    if (leased(view))
        has_lease_stop_waiting(view);
    return now - began;
}

struct has_pass has_gate(const struct has_view *view, struct has_lane *lane, uint64_t estimate_ns,
                         uint32_t sms)
{
    struct has_pass pass = {0, false};
    bool hold = held(view);
    if (__builtin_expect(!(view->flags & (HAS_FLAG_QUIESCE | HAS_VIEW_LEASED)) && !limited(sms), 1))
        return pass;
    if (__builtin_expect(has_making_wanted(), 0)) {
        if (lane && !leased(view))
            has_meter_close(lane); /* the pause is not GPU time */
        has_making_hold();
        const struct has_view *fresh = has_limits_now();
        view = fresh ? fresh : view;
        hold = held(view);
    }
    uint64_t now = has_now_ns();
    bool clear = has_gate_balance(view, now) > 0 && !hold;
    if (leased(view))
        clear = clear && has_lease_clear(view) &&
                has_meter_outstanding() < view->max_outstanding_ns;
    if (!clear) {
        uint64_t waited = wait_for_budget(view, lane, sms, now, &pass.borrowed);
        HAS_COUNT(throttled_ns, waited);
        now += waited;
    }
    if (leased(view))
        has_lease_used(now);
    if (!pass.borrowed)
        pass.taken_ns = take(has_area_price(estimate_ns, sms, has_sm_meant()));
    return pass;
}

void has_gate_settle(const struct has_view *view, int64_t actual_ns, uint64_t taken_ns,
                     uint32_t sms)
{
    if (!taken_ns)
        return;
    struct has_usage_header *usage = has_usage();
    int64_t price = (int64_t)has_area_price((uint64_t)actual_ns, sms, has_sm_meant());
    int64_t charge = price - (int64_t)taken_ns, limit = (int64_t)view->window_ns;
    int64_t old = __atomic_load_n(&usage->balance_ns, __ATOMIC_RELAXED), next;
    do
        next = has_budget_charge(old, charge, limit);
    while (!__atomic_compare_exchange_n(&usage->balance_ns, &old, next, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED));
    if (next < 0 && next < old)
        HAS_COUNT(overrun_ns, (uint64_t)(old > 0 ? -next : old - next));
}
