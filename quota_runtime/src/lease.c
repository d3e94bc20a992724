#include "lease.h"

#include <immintrin.h>
#include <time.h>

#include "budget.h"
#include "lease_rules.h"
#include "lease_words.h"
#include "meter.h"
#include "start.h"
#include "usage.h"

#define IDLE_NS 150000ull       /* with nothing in flight for so long, a lease is given up */
#define NEAR_NS 300000ull       /* an end so near is waited for awake; it is known to some 0.1 ms */
#define LOOK_NS 50000ull        /* before that it is looked for so often */
#define SPIN_NS 600000ull       /* a waiter that was told of such an end stays awake so long */
#define QUEUE_NAP_NS 2000000ull /* who lets go wakes its waiters; this finds the dead ones */
#define NAP_NS 1000000ull
#define BORROW_NAP_NS 250000ull /* nobody wakes those that wait for idle time */
#define STALLED_WINDOWS 10u     /* work that does not end: it may wait for the launch held back */
#define LETTING_GO HAS_LEASE_SLOTS /* in `has_lease_held`: one thread is about to clear the bit */

atomic_uint has_lease_held;

static _Atomic uint64_t used_at_ns;
static uint32_t slot_applied;
static struct has_leases *file_applied;

static uint64_t bit_of(uint32_t slot)
{
    return 1ull << slot;
}

static void nap(uint64_t ns)
{
    struct timespec wait = {0, (long)ns};
    nanosleep(&wait, NULL);
}

/* --- taking and letting go ----------------------------------------------------------------- */

/* Another process of the pod works under its bit. */
static bool pod_goes_on(uint64_t now, const struct has_view *view)
{
    uint64_t window = view ? view->window_ns : 50000000u;
    return has_usage_under_lease((int64_t)now - has_lease_stale_after(window));
}

static bool holds(uint32_t held)
{
    return held && held != LETTING_GO;
}

void has_lease_release(void)
{
    struct has_leases *file = atomic_load(&has_leases_now);
    uint32_t slot = atomic_load(&has_lease_held);
    if (!holds(slot) || !atomic_compare_exchange_strong(&has_lease_held, &slot, LETTING_GO))
        return;
    __atomic_store_n(&has_slot()->lease_at_ns, 0, __ATOMIC_SEQ_CST);
    /* A process that joins after this look sees at its next launch that the bit is gone. */
    if (file && !pod_goes_on(has_now_ns(), atomic_load(&has_view_now)))
        has_words_clear(file, bit_of(slot));
    atomic_store(&has_lease_held, 0);
}

static int64_t urgent_at(const struct has_view *view, uint64_t now)
{
    return has_lease_urgent_at(has_window_end(now, view->window_ns, view->phase_ns),
                               has_gate_balance(view, now));
}

static bool take(struct has_leases *file, const struct has_view *view, uint64_t now)
{
    uint32_t held = atomic_load(&has_lease_held);
    if (held == LETTING_GO || has_words_queued(file, view, urgent_at(view, now), now))
        return false;
    /* First the word that the others of the pod look at, then the bit: who lets go does it the
     * other way round. */
    __atomic_store_n(&has_slot()->lease_at_ns, (int64_t)now, __ATOMIC_SEQ_CST);
    if (!has_words_take(file, view, now)) {
        __atomic_store_n(&has_slot()->lease_at_ns, 0, __ATOMIC_SEQ_CST);
        return false;
    }
    if (!atomic_compare_exchange_strong(&has_lease_held, &held, view->lease_slot))
        return false; /* another thread was faster */
    atomic_store(&used_at_ns, now);
    HAS_COUNT(leases, 1);
    has_words_wait_no_more(file, view->mine);
    has_helper_nudge(); /* to renew it, and to give it up when nothing follows */
    return true;
}

/* --- waiting ------------------------------------------------------------------------------- */

void has_lease_stop_waiting(const struct has_view *view)
{
    struct has_leases *file = atomic_load(&has_leases_now);
    if (file)
        has_words_wait_no_more(file, view->mine);
}

/* Entitled, but others run, or are first in the queue. */
static void queue(struct has_leases *file, const struct has_view *view, uint64_t now)
{
    uint32_t seen = __atomic_load_n(&file->wake, __ATOMIC_SEQ_CST);
    has_words_wait(file, view, has_gate_loses(view) ? urgent_at(view, now) : INT64_MAX, now);
    has_words_step_over(file, view, now);
    uint64_t others = has_words_running(file) & view->conflicts;
    if (others & __atomic_load_n(&file->leaving, __ATOMIC_SEQ_CST))
        while ((has_words_running(file) & others) && has_now_ns() - now < SPIN_NS)
            _mm_pause();
    if (!others || has_words_running(file) & others)
        has_words_sleep(file, seen, others ? QUEUE_NAP_NS : BORROW_NAP_NS);
    uint64_t waited = has_now_ns() - now;
    HAS_COUNT(lease_wait_ns, waited);
    __atomic_fetch_add(&has_usage()->waited_ns, waited, __ATOMIC_RELAXED);
}

static void wait_for_budget(const struct has_view *view, uint64_t now)
{
    uint64_t left = has_window_end(now, view->window_ns, view->phase_ns) - now;
    uint64_t longest = view->flags & HAS_FLAG_BURST ? BORROW_NAP_NS : NAP_NS;
    has_meter_harvest();
    nap(left < longest ? left : longest);
}

/* Whether the end of what is in flight is worth waiting for awake. */
static bool ends_soon(uint64_t now)
{
    uint64_t overdue = has_meter_stalled(now) - has_meter_outstanding();
    return has_meter_remaining(now) <= NEAR_NS && ((int64_t)overdue < 0 || overdue < NEAR_NS);
}

/* Lets go when nothing is in flight any more, and waits for that a little. */
static void leave(struct has_leases *file, const struct has_view *view, struct has_lane *lane,
                  uint64_t now)
{
    has_meter_flush(lane);
    if (has_meter_busy() && !ends_soon(now)) {
        nap(LOOK_NS); /* seldom less than twice as long */
        return;
    }
    if (has_meter_busy())
        has_words_announce(file, view);
    while (has_meter_busy() && has_now_ns() - now < NEAR_NS) {
        for (int i = 0; i < 50; i++)
            _mm_pause();
        has_meter_harvest();
    }
    if (!has_meter_busy())
        has_lease_release();
}

/* --- a launch ------------------------------------------------------------------------------ */

static enum has_lease_verdict decide(struct has_leases *file, const struct has_view *view,
                                     uint64_t now)
{
    const struct has_lease_slot *own = &file->slots[view->lease_slot];
    int64_t held = (int64_t)now - __atomic_load_n(&own->since_ns, __ATOMIC_RELAXED);
    uint64_t waiting = has_words_waiting(file, view, now);
    bool may_wait = has_words_all_may_wait(file, waiting, view, now);
    struct has_lease_look look = {
        .mine = view->mine,
        .conflicts = view->conflicts,
        .running = has_words_running(file),
        .waiting = waiting,
        .on = atomic_load(&has_lease_held) == view->lease_slot,
        .burst = view->flags & HAS_FLAG_BURST,
        .balance_ns = has_gate_balance(view, now),
        .held_ns = held < 0 ? 0 : (uint64_t)held,
        .slice_ns = has_lease_turn(view->slice_ns, view->window_ns, may_wait),
    };
    return has_lease_decide(&look);
}

/* So that a turn can end soon, no more than this is in flight; one launch may be longer. */
static bool too_much_in_flight(const struct has_view *view, struct has_lane *lane)
{
    if (has_meter_outstanding() < view->max_outstanding_ns)
        return false;
    has_meter_flush(lane);
    if (has_meter_outstanding() < view->max_outstanding_ns)
        return false;
    uint64_t part = view->max_outstanding_ns / 16;
    nap(part < LOOK_NS ? LOOK_NS : part > 200000 ? 200000 : part);
    return true;
}

static enum has_lease_step go(struct has_leases *file, const struct has_view *view,
                              struct has_lane *lane, enum has_lease_step how)
{
    has_words_announce_no_more(file, view->mine);
    return too_much_in_flight(view, lane) ? HAS_LEASE_WAITED : how;
}

enum has_lease_step has_lease_step(const struct has_view *view, struct has_lane *lane,
                                   uint64_t now)
{
    struct has_leases *file = atomic_load(&has_leases_now);
    uint32_t held = atomic_load(&has_lease_held);
    if (!file)
        return HAS_LEASE_CHARGED;
    if (holds(held) && held != view->lease_slot)
        has_lease_release();
    if (holds(held) && has_meter_stalled(now) > STALLED_WINDOWS * view->window_ns) {
        HAS_COUNT(ungated_launches, 1);
        return HAS_LEASE_CHARGED;
    }
    switch (decide(file, view, now)) {
    case HAS_LEASE_RUN:
        return go(file, view, lane, HAS_LEASE_CHARGED);
    case HAS_LEASE_BORROW:
        return go(file, view, lane, HAS_LEASE_BORROWED);
    case HAS_LEASE_TAKE:
        if (!take(file, view, now))
            queue(file, view, now);
        break;
    case HAS_LEASE_QUEUE:
        queue(file, view, now);
        break;
    case HAS_LEASE_LEAVE:
        leave(file, view, lane, now);
        break;
    case HAS_LEASE_SPENT:
        has_lease_stop_waiting(view);
        wait_for_budget(view, now);
    }
    return HAS_LEASE_WAITED;
}

void has_lease_spent(const struct has_view *view, uint64_t now_ns)
{
    struct has_leases *file = atomic_load(&has_leases_now);
    if (file)
        has_words_spends(file, view, now_ns);
}

void has_lease_used(uint64_t now_ns)
{
    atomic_store_explicit(&used_at_ns, now_ns, memory_order_relaxed);
}

/* --- the rest ------------------------------------------------------------------------------ */

bool has_lease_apply(const char *gpu_uuid, uint32_t slot)
{
    if (!slot || !has_lease_file_open(gpu_uuid))
        return false;
    struct has_leases *file = atomic_load(&has_leases_now);
    if (slot == slot_applied && file == file_applied)
        return true;
    has_lease_release();
    slot_applied = slot;
    file_applied = file;
    if (!pod_goes_on(has_now_ns(), NULL)) {
        /* Left by whoever had the slot before. */
        has_words_wait_no_more(file, bit_of(slot));
        has_words_clear(file, bit_of(slot));
    }
    return true;
}

void has_lease_look(void)
{
    if (has_lease_file_changed())
        has_limits_reread();
}

/* Where the helper cannot see what is in flight, it must have ended by the clock. */
static bool nothing_in_flight(uint64_t now, bool can_see)
{
    if (!has_meter_busy())
        return true;
    uint64_t since = now - atomic_load(&used_at_ns);
    return !can_see && (int64_t)since > 0 && since > 4 * has_meter_outstanding() + NAP_NS;
}

static bool idle(uint64_t now)
{
    uint64_t since = has_meter_idle_since(), used = atomic_load(&used_at_ns);
    if (used > since)
        since = used;
    return now > since && now - since > IDLE_NS;
}

/* A process of the pod that ended or was killed has left its bit. */
static void clear_what_is_left(struct has_leases *file, const struct has_view *view, uint64_t now)
{
    if (has_words_running(file) & view->mine && !pod_goes_on(now, view))
        has_words_clear(file, view->mine);
}

void has_lease_tick(const struct has_view *view, uint64_t now, bool can_see)
{
    struct has_leases *file = atomic_load(&has_leases_now);
    uint32_t held = atomic_load(&has_lease_held);
    bool leased = view->flags & HAS_VIEW_LEASED && held == view->lease_slot;
    if (!file || held == LETTING_GO)
        return;
    if (!held) {
        clear_what_is_left(file, view, now);
        return;
    }
    if (!leased || (nothing_in_flight(now, can_see) && idle(now))) {
        has_lease_release();
        return;
    }
    if (!(has_words_running(file) & view->mine))
        return; /* stepped over: the next launch sees it */
    __atomic_store_n(&has_slot()->lease_at_ns, (int64_t)now, __ATOMIC_RELAXED);
    __atomic_store_n(&file->slots[held].renewed_at_ns, (int64_t)now, __ATOMIC_RELAXED);
}

void has_lease_after_fork(void)
{
    has_lease_file_after_fork();
    atomic_store(&has_lease_held, 0);
    slot_applied = 0;
}
