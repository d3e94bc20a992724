/* The files through which the node agent and the preload library talk.
 *
 * limits: one page, written by the node agent alone, read by every process of the pod. A seqlock
 * (`seq` odd while a write is in progress) makes multi-word reads consistent without a lock.
 * usage: a header and HAS_USAGE_SLOTS slots, one per process, each written by its process alone.
 * leases: one file per GPU, made by the agent, written by the library in all pods on that GPU.
 * All times are CLOCK_MONOTONIC nanoseconds, which containers of one host share.
 * Twin: quota_runtime/region.py; a test compares every offset.
 */
#ifndef HAS_ABI_H
#define HAS_ABI_H

#include <stddef.h>
#include <stdint.h>

#define HAS_ABI_VERSION 3u
#define HAS_LIMITS_MAGIC 0x3154494d494c4148ull /* "HALIMIT1" little-endian */
#define HAS_USAGE_MAGIC 0x3145474153554148ull  /* "HAUSAGE1" */
#define HAS_LEASES_MAGIC 0x31455341454c4148ull /* "HALEASE1" */
#define HAS_LIMITS_SIZE 4096u
#define HAS_LEASES_SIZE 4224u
#define HAS_USAGE_SLOTS 64u
#define HAS_LEASE_SLOTS 64u
#define HAS_NEXT 8u /* partitions that a limits block can name as likely to come */

/* has_limits.flags */
#define HAS_FLAG_TIME 1u    /* enforce quota_permille */
#define HAS_FLAG_SM 2u      /* enforce sm_groups */
#define HAS_FLAG_MEMORY 4u  /* enforce memory_limit_bytes */
#define HAS_FLAG_QUIESCE 8u /* launch nothing more; the pod is about to end */
#define HAS_FLAG_BURST 16u  /* beyond the quota, take what no conflicting pod wants */

struct has_limits {
    uint64_t magic;              /* HAS_LIMITS_MAGIC */
    uint32_t abi_version;        /* HAS_ABI_VERSION */
    uint32_t size;               /* HAS_LIMITS_SIZE */
    uint32_t seq;                /* seqlock, even when stable */
    uint32_t flags;              /* HAS_FLAG_* */
    uint64_t epoch;              /* grows with every change */
    uint64_t sm_groups[2];       /* bitmap of split groups, group 0 = bit 0 of word 0 */
    uint64_t max_sm_groups[2];   /* the largest partition, for launches that do not fit */
    uint32_t sm_group_size;      /* SMs per group of the split: 8, or 2 */
    uint32_t quota_permille;     /* 1..1000 of each quota window */
    uint64_t window_ns;          /* quota window, 50 ms by default */
    uint64_t max_outstanding_ns; /* GPU time that may be in flight beyond the budget */
    uint64_t memory_limit_bytes; /* physical bytes of the whole pod */
    uint64_t phase_ns;           /* start of this pod's turn in the window; 0 = anywhere */
    int64_t written_at_ns;       /* when the agent wrote this */
    char gpu_uuid[48];           /* NUL-terminated */
    uint64_t lease_conflicts;    /* bitmap of lease slots that may not run beside this pod */
    uint64_t lease_slice_ns;     /* a turn that others wait for lasts so long */
    uint32_t lease_slot;         /* this pod's slot in its GPU's lease file; 0 = none */
    uint32_t reserved0;
    uint64_t next_sm_groups[HAS_NEXT][2]; /* partitions that may come next, likeliest first; 0: none */
    uint64_t reserved[8];
};

/* has_usage_slot.state */
#define HAS_SLOT_FREE 0u
#define HAS_SLOT_LIVE 1u

struct has_usage_header {
    uint64_t magic;       /* HAS_USAGE_MAGIC */
    uint32_t abi_version; /* HAS_ABI_VERSION */
    uint32_t slots;       /* HAS_USAGE_SLOTS */
    uint64_t memory_bytes; /* charged by all processes of the pod together */
    int64_t balance_ns;    /* GPU time left in the quota window; negative = debt */
    uint64_t quota_window; /* number of the window whose budget the balance holds */
    uint64_t waited_ns;    /* since then, time with budget in which others had the SMs */
    int64_t lost_ns;       /* budget that came to nothing because of them, fading over windows */
    int64_t credited_ns;   /* what the balance was when its window began */
};

struct has_usage_slot {
    uint32_t state;            /* HAS_SLOT_* */
    uint32_t pid;              /* as the process sees itself */
    uint64_t start_time;       /* clock ticks since boot, /proc/self/stat field 22 */
    uint64_t epoch_in_force;   /* last epoch whose limits all take effect */
    int64_t in_force_at_ns;    /* when it took effect */
    uint64_t sm_groups[2];     /* partition in force */
    uint32_t quota_permille;   /* quota in force */
    uint32_t faults;           /* torn reads, bad blocks, refused versions */
    uint64_t launches;         /* gated launches, graphs included */
    uint64_t ungated_launches; /* launch-like calls that no gate saw */
    uint64_t graph_launches;
    uint64_t gpu_time_ns;      /* metered */
    uint64_t area_sm_ns;       /* metered, GPU time x SMs of the partition it ran on */
    uint64_t throttled_ns;     /* host time spent waiting for quota */
    uint64_t overrun_ns;       /* GPU time beyond budget, carried as debt */
    uint64_t memory_bytes;     /* charged by this process */
    uint64_t memory_peak_bytes;
    uint64_t memory_refused;   /* allocations answered with out-of-memory */
    uint64_t resizes;          /* SM partition changes made */
    uint64_t resize_last_ns;   /* what the last one cost the launch path */
    int64_t heartbeat_ns;      /* last time the library looked at the limits */
    int64_t lease_at_ns;       /* last time it said that it works under the pod's lease; 0: not */
    uint64_t leases;           /* leases taken */
    uint64_t lease_wait_ns;    /* host time spent waiting for others, with budget */
    uint64_t borrowed_ns;      /* metered GPU time beyond the quota that nobody else wanted */
    uint64_t lease_faults;     /* lease files that could not be used */
    uint64_t partitions;       /* SM partitions made */
    uint64_t partitions_ahead; /* of these, made before they were asked for */
    uint64_t notice_ns;        /* from writes of limits until they were read */
    uint64_t make_start_ns;    /* partitions asked for: from then until a thread made them */
    uint64_t make_split_ns;    /* host time spent on splitting the device's SMs, */
    uint64_t make_context_ns;  /* on contexts, */
    uint64_t make_streams_ns;  /* and on streams of those that work waited for */
};

/* One line of the cache for each pod on a GPU. */
struct has_lease_slot {
    int64_t renewed_at_ns;  /* when its holder last said that it runs */
    int64_t since_ns;       /* when it began to run */
    int64_t waits_since_ns; /* since when it waits; counts while its bit in `waiting` is set */
    int64_t waits_at_ns;    /* when a waiter last said that it waits */
    uint64_t conflicts;     /* what that waiter may not run beside */
    int64_t urgent_at_ns;   /* from when it must run, or lose more of its quota than it has */
    int64_t spends_at_ns;   /* end of the last window in which it spent nearly all of its quota */
    uint64_t reserved[1];
};

struct has_leases {
    uint64_t magic;       /* HAS_LEASES_MAGIC */
    uint32_t abi_version; /* HAS_ABI_VERSION */
    uint32_t size;        /* HAS_LEASES_SIZE */
    char gpu_uuid[48];
    uint64_t running; /* bitmap of slots whose pod may have work on the GPU */
    uint64_t waiting; /* those that have budget and wait for others */
    uint64_t leaving; /* those that let go within some hundred microseconds */
    uint32_t wake;    /* a futex: grows whenever somebody lets go or is about to */
    uint32_t reserved0;
    uint64_t reserved[4];
    struct has_lease_slot slots[HAS_LEASE_SLOTS]; /* the first is nobody's */
};

_Static_assert(offsetof(struct has_limits, seq) == 16, "ABI");
_Static_assert(offsetof(struct has_limits, sm_groups) == 32, "ABI");
_Static_assert(offsetof(struct has_limits, quota_permille) == 68, "ABI");
_Static_assert(offsetof(struct has_limits, window_ns) == 72, "ABI");
_Static_assert(offsetof(struct has_limits, gpu_uuid) == 112, "ABI");
_Static_assert(sizeof(struct has_usage_header) == 64, "ABI");
_Static_assert(sizeof(struct has_limits) == 376, "ABI");
_Static_assert(sizeof(struct has_usage_slot) == 256, "ABI");
_Static_assert(offsetof(struct has_leases, running) == 64, "ABI");
_Static_assert(sizeof(struct has_lease_slot) == 64, "ABI");
_Static_assert(sizeof(struct has_leases) == HAS_LEASES_SIZE, "ABI");

#endif
