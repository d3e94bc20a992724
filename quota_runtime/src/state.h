/* What the parts of the library share. */
#ifndef HAS_STATE_H
#define HAS_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "bitmap.h"
#include "has_abi.h"
#include "has_cuda.h"

/* --- limits.c ----------------------------------------------------------------------------- */

/* The last good limits, unpacked. Published by pointer; a reader keeps its pointer for one call. */
struct has_view {
    uint64_t epoch;
    uint32_t flags;
    uint32_t quota_permille;
    uint64_t window_ns;
    uint64_t max_outstanding_ns;
    uint64_t memory_limit_bytes;
    uint64_t phase_ns; /* 0 under leases: the windows of all pods begin together */
    struct has_groups groups, most;
    struct has_groups next[HAS_NEXT]; /* that may come next, the likeliest first */
    uint32_t group_size;
    uint32_t lease_slot; /* 0 unless HAS_VIEW_LEASED */
    uint64_t mine, conflicts;
    uint64_t slice_ns;
};

/* In has_view.flags beside HAS_FLAG_*: the SMs are shared through the GPU's lease file. */
#define HAS_VIEW_LEASED (1u << 31)

extern _Atomic(const struct has_view *) has_view_now;
extern const uint32_t *_Atomic has_limits_seq;
extern _Atomic uint32_t has_limits_seen;

/* Reads the limits again when they changed; opens the file when there is none yet. */
void has_limits_refresh(void);

/* Has the next call read them again although they did not change. */
void has_limits_reread(void);

/* The limits in force, NULL to run free. On the launch path: one load when nothing changed. */
static inline const struct has_view *has_limits_now(void)
{
    const uint32_t *seq = atomic_load_explicit(&has_limits_seq, memory_order_acquire);
    if (!seq)
        return NULL;
    if (__builtin_expect(__atomic_load_n(seq, __ATOMIC_ACQUIRE) !=
                             atomic_load_explicit(&has_limits_seen, memory_order_relaxed),
                         0))
        has_limits_refresh();
    return atomic_load_explicit(&has_view_now, memory_order_acquire);
}

/* --- usage.c ------------------------------------------------------------------------------ */

/* This process's slot, or a private one where there is no usage file. Never NULL. */
struct has_usage_slot *has_slot(void);
struct has_usage_header *has_usage(void);
void has_usage_open(const char *folder);
void has_usage_leave(void);

#define HAS_COUNT(counter, amount) \
    ((void)__atomic_fetch_add(&has_slot()->counter, (amount), __ATOMIC_RELAXED))
#define HAS_SET(counter, value) __atomic_store_n(&has_slot()->counter, (value), __ATOMIC_RELAXED)

/* --- start.c ------------------------------------------------------------------------------ */

extern atomic_bool has_started;
bool has_start_slow(void);

/* Whether the driver is known; starts the library on the first CUDA call of a process. */
static inline bool has_ready(void)
{
    return __builtin_expect(atomic_load_explicit(&has_started, memory_order_acquire), 1) ||
           has_start_slow();
}

static inline uint64_t has_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint32_t has_now_ms(void)
{
    return (uint32_t)(has_now_ns() / 1000000u);
}

/* --- gate.c ------------------------------------------------------------------------------- */

extern atomic_uint has_share_ppm; /* time share in force; HAS_PPM = unlimited */

/* On whose account a launch goes. */
struct has_pass {
    uint64_t taken_ns; /* from the budget, in advance */
    bool borrowed;     /* beyond the quota, in time that nobody else wanted */
};

/* Waits, within bounds, until a launch of about `estimate_ns` on `sms` SMs may start. */
struct has_lane;
struct has_pass has_gate(const struct has_view *view, struct has_lane *lane, uint64_t estimate_ns,
                         uint32_t sms);

/* What is left of the pod's budget, that of the present window included. */
int64_t has_gate_balance(const struct has_view *view, uint64_t now_ns);

/* Whether the pod has lost more of its quota to others lately than is bearable. */
bool has_gate_loses(const struct has_view *view);

/* Corrects the budget once the GPU time is known. */
void has_gate_settle(const struct has_view *view, int64_t actual_ns, uint64_t taken_ns,
                     uint32_t sms);

/* --- sm.c --------------------------------------------------------------------------------- */

/* Puts the limits read last in force as far as they concern SMs, and reports what is in force. */
void has_sm_apply(void);

#endif
