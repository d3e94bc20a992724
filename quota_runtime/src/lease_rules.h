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

/* Whether a waiter since `theirs_ns` comes before one since `mine_ns` (0: not waiting yet). One that
 * cannot run yet holds nobody up, until it has been passed over for `patience_ns`. */
static inline bool has_lease_comes_first(int64_t theirs_ns, int64_t mine_ns, bool could_run,
                                         int64_t now_ns, int64_t patience_ns)
{
    if (mine_ns && mine_ns <= theirs_ns)
        return false;
    return could_run || now_ns - theirs_ns > patience_ns;
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
