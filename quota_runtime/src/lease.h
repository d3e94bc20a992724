/* Leases: pods whose SMs intersect run one after the other, agreed on in shared memory alone.
 *
 * A pod runs while its bit is in `running` of the GPU's lease file; it sets the bit only while none
 * of those it conflicts with is there. Its processes share the bit; each says in its usage slot that
 * it works under it, and the last one to let go clears it. Nobody is asked and no lock is held: what
 * dies or stops with the bit set is stepped over once it has been silent for two windows.
 */
#ifndef HAS_LEASE_H
#define HAS_LEASE_H

#include "lease_file.h"
#include "state.h"

enum has_lease_step {
    HAS_LEASE_WAITED, /* look again */
    HAS_LEASE_CHARGED,
    HAS_LEASE_BORROWED,
};

extern atomic_uint has_lease_held; /* slot whose bit this process works under; 0: none, 64: leaving */

/* Whether a launch may go without a second thought: a lease is held and nobody else wants it. */
static inline bool has_lease_clear(const struct has_view *view)
{
    const struct has_leases *file = atomic_load_explicit(&has_leases_now, memory_order_acquire);
    uint64_t others = view->conflicts;
    return file &&
           atomic_load_explicit(&has_lease_held, memory_order_relaxed) == view->lease_slot &&
           (__atomic_load_n(&file->running, __ATOMIC_RELAXED) & (view->mine | others)) ==
               view->mine &&
           !(__atomic_load_n(&file->waiting, __ATOMIC_RELAXED) & others);
}

/* One step of a launch that may have to wait: decides, acts, and waits a little where it must. */
enum has_lease_step has_lease_step(const struct has_view *view, struct has_lane *lane,
                                   uint64_t now_ns);

/* The launch goes, or waits no longer. */
void has_lease_stop_waiting(const struct has_view *view);

/* The pod spent nearly all of its quota in the window that ended. */
void has_lease_spent(const struct has_view *view, uint64_t now_ns);

/* A launch has passed the gate. */
void has_lease_used(uint64_t now_ns);

/* Limits name a slot of a GPU's file: whether leases can be had. A new slot begins clean. */
bool has_lease_apply(const char *gpu_uuid, uint32_t slot);

/* The helper thread's part: renews what is held, and lets go of what is not used. `can_see`: it can
 * ask the driver what has ended. */
void has_lease_tick(const struct has_view *view, uint64_t now_ns, bool can_see);

/* Has the limits read again when the file has appeared or was replaced. */
void has_lease_look(void);

/* Lets go at once, whatever is in flight. */
void has_lease_release(void);

void has_lease_after_fork(void);

#endif
