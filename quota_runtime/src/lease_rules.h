/* Whose turn it is on SMs that several pods share. Pure: no clock, no memory but the arguments.
 *
 * A pod with budget is entitled: it waits only for those who run. A pod that has spent its budget
 * may borrow, if its limits say so, what no conflicting pod uses or waits for.
 */
#ifndef HAS_LEASE_RULES_H
#define HAS_LEASE_RULES_H

#include <stdbool.h>
#include <stdint.h>

/* What one process sees. Bitmaps of lease slots; only the conflicting ones count. */
struct has_lease_look {
    uint64_t mine, conflicts, running;
    uint64_t waiting; /* those of whom it is known that they still wait */
    bool on;          /* this process works under the pod's bit */
    bool burst;
    int64_t balance_ns;
    uint64_t held_ns; /* since the pod has its bit */
    uint64_t slice_ns;
};

enum has_lease_verdict {
    HAS_LEASE_RUN,    /* go on, paid from the budget */
    HAS_LEASE_BORROW, /* go on, in time that nobody else wants */
    HAS_LEASE_TAKE,   /* the SMs are free: try for them */
    HAS_LEASE_LEAVE,  /* let go as soon as nothing is in flight */
    HAS_LEASE_QUEUE,  /* entitled: wait for those who run */
    HAS_LEASE_SPENT,  /* wait for the next budget */
};

static inline enum has_lease_verdict has_lease_decide(const struct has_lease_look *look)
{
    bool others = look->running & look->conflicts;
    bool pod_runs = look->running & look->mine;
    bool wanted = look->waiting & look->conflicts;
    bool turn_over = wanted && look->held_ns >= look->slice_ns;
    bool may_borrow = look->burst && !wanted;
    if (look->on) {
        if (!pod_runs || others)
            return HAS_LEASE_LEAVE;
        if (look->balance_ns > 0)
            return turn_over ? HAS_LEASE_LEAVE : HAS_LEASE_RUN;
        return may_borrow ? HAS_LEASE_BORROW : HAS_LEASE_LEAVE;
    }
    if (look->balance_ns <= 0)
        return may_borrow && !others ? HAS_LEASE_TAKE : HAS_LEASE_SPENT;
    /* Another process of the pod that is giving way must not be joined. */
    return others || (pod_runs && turn_over) ? HAS_LEASE_QUEUE : HAS_LEASE_TAKE;
}

/* Whether a pod's quota is what holds it back: nearly all of it was spent in each of `windows`, and a
 * launch was there soon after the next one began, as where launches always wait. */
static inline bool has_lease_spends(int64_t spent_ns, int64_t budget_ns, uint64_t windows,
                                    uint64_t late_ns, uint64_t window_ns)
{
    return budget_ns > 0 && late_ns < window_ns / 16 &&
           spent_ns / (int64_t)windows >= budget_ns - budget_ns / 10;
}

/* How long a turn lasts that others wait for. Where turns meet, time is lost (0.15 ms on an H100, 1.6 %
 * where two pods of 50 % meet every 8 ms: docs/results/quota-h200.md). Who
 * spends its whole quota waits for its next budget anyway: throughput matters to it, not its turn. */
static inline uint64_t has_lease_turn(uint64_t slice_ns, uint64_t window_ns, bool all_may_wait)
{
    return all_may_wait && slice_ns < window_ns / 2 ? window_ns / 2 : slice_ns;
}

/* Whether a waiter and who runs share their SMs with the same pods, each other included. One that
 * overlaps several that do not overlap each other needs all of them to have short turns. */
static inline bool has_lease_alike(uint64_t running, uint64_t conflicts, uint64_t waiter,
                                   uint64_t waiters_conflicts)
{
    return (running | conflicts) == (waiter | waiters_conflicts);
}

/* What a pod has to say for itself in the queue. */
struct has_lease_claim {
    int64_t since_ns;     /* since when it waits; 0: not yet */
    int64_t urgent_at_ns; /* from when it must run, or lose more of its quota than it has */
};

#define HAS_LEASE_FADING 10    /* windows over which losses are looked at */
#define HAS_LEASE_BEARABLE 3   /* per cent of the quota: where turns meet a little is lost always */

/* What a pod has lost to others, `windows` later: `cut_ns` of its budget could not be kept. Only what
 * it waited for counts as lost to others. */
static inline int64_t has_lease_lost(int64_t before_ns, uint64_t windows, int64_t cut_ns,
                                     uint64_t waited_ns)
{
    for (uint64_t i = 0; i < windows && before_ns > 0; i++)
        before_ns -= before_ns / HAS_LEASE_FADING + 1;
    if (cut_ns > (int64_t)waited_ns)
        cut_ns = (int64_t)waited_ns;
    return (before_ns > 0 ? before_ns : 0) + (cut_ns > 0 ? cut_ns : 0);
}

static inline bool has_lease_loses(int64_t lost_ns, int64_t budget_ns)
{
    return lost_ns / HAS_LEASE_FADING > budget_ns / 100 * HAS_LEASE_BEARABLE;
}

/* From then on a pod needs all of what is left of the window. Budget kept from earlier windows has it
 * come sooner. */
static inline int64_t has_lease_urgent_at(uint64_t window_end_ns, int64_t balance_ns)
{
    return (int64_t)window_end_ns - balance_ns;
}

/* Whether a waiter comes before another pod that waits less long or not yet. One that cannot run
 * yet holds nobody up, unless it is urgent and the other one less so, or it has been passed over for
 * `patience_ns`. Who is held up thus comes later, so none hold each other up. */
static inline bool has_lease_comes_first(struct has_lease_claim theirs, struct has_lease_claim mine,
                                         bool could_run, int64_t now_ns, int64_t patience_ns)
{
    if (mine.since_ns && mine.since_ns <= theirs.since_ns)
        return false;
    bool urgent = theirs.urgent_at_ns <= now_ns && theirs.urgent_at_ns < mine.urgent_at_ns;
    return could_run || urgent || now_ns - theirs.since_ns > patience_ns;
}

/* Who has not been heard of for so long is dead or stopped, and nobody waits for it. */
static inline int64_t has_lease_stale_after(uint64_t window_ns)
{
    return (int64_t)window_ns * 2;
}

/* Unspent time that outlives its window: what others made a pod lose, one window of it at most. */
static inline int64_t has_lease_keep(uint64_t usual_ns, uint64_t waited_ns, uint64_t window_ns)
{
    return (int64_t)(usual_ns + (waited_ns < window_ns ? waited_ns : window_ns));
}

#endif
