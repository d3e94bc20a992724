/* Lanes: what the library knows about each stream of the program. */
#ifndef HAS_LANE_H
#define HAS_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "has_cuda.h"
#include "partition.h"

#define HAS_LANES 1024u
#define HAS_BATCH_LAUNCHES 64u
#define HAS_BATCHES 32u
#define HAS_MOVING (1 << 30)

/* Launches between two events on one stream. */
struct has_batch {
    CUevent begin; /* NULL: it began when the batch before it ended */
    CUevent end;
    uint64_t expected_ns;
    uint64_t taken_ns; /* from the budget, in advance */
    uint32_t launches;
    uint32_t sms; /* of the partition it runs on */
    int partition;
    int elsewhere; /* where a graph in it runs instead, if that is to be waited for */
    bool borrowed; /* beyond the quota: not paid from the budget */
    uint16_t keys[HAS_BATCH_LAUNCHES];
};

struct has_lane {
    _Atomic(uintptr_t) key;      /* the program's handle; 0 free, 1 given up */
    _Atomic(CUstream) physical;  /* where its work really goes */
    _Atomic(CUstream) app;       /* how the driver calls it */
    atomic_bool per_thread;      /* the default stream of one thread */
    atomic_bool legacy;          /* the legacy default stream */
    atomic_bool blocking;        /* ordered against the legacy default stream */
    atomic_bool fixed;           /* never moved: the program chose its SMs */
    atomic_int priority;
    /* Where it is; changed only by a thread that found no user inside and set MOVING. */
    atomic_int users;            /* threads between enter and leave, or HAS_MOVING */
    atomic_int partition;        /* of `physical` */
    _Atomic(CUstream) streams[HAS_PARTITIONS]; /* its own stream on each, NULL until needed */
    /* Order against the legacy default stream, while that is not the driver's. */
    atomic_uint used_ms;         /* when the last call was made */
    atomic_uint work;            /* calls made on the lane */
    atomic_uint joined;          /* of the legacy lane's calls, those this lane comes after */
    atomic_uint seen;            /* of this lane's calls, those the legacy lane comes after */
    /* Metering; guarded by the meter's claim. */
    bool is_open;
    uint64_t opened_at_ns;
    uint32_t looked_at;          /* launches of the open batch at the helper's last look */
    struct has_batch open;
    struct has_batch done[HAS_BATCHES]; /* ring of batches whose end may not have come */
    uint32_t head, tail;
    int64_t last_end_ns;
};

/* The lane of a stream handle, made when new; NULL when there are too many. `per_thread` says
 * what handle 0 means. */
struct has_lane *has_lane_of(CUstream stream, bool per_thread);

/* The program destroys the stream; with the lock. */
void has_lane_forget(CUstream stream);

/* The partition goes: no lane has a stream on it any more. */
void has_lane_leave_partition(int partition);

/* While it is held no lane comes to stand for another stream. */
void has_lane_lock(void);
void has_lane_unlock(void);

/* Every lane that was ever made, one after the other; NULL at the end. */
struct has_lane *has_lane_at(uint32_t index);

void has_lane_after_fork(void);

#endif
