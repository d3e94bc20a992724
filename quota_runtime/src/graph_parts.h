/* What the parts of the graph engine share. */
#ifndef HAS_GRAPH_PARTS_H
#define HAS_GRAPH_PARTS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "graph.h"

#define HAS_SEEN 4
#define HAS_GRAPHS 8192u

/* A graph made executable for another partition than that of its capture. */
struct has_variant {
    CUgraphExec exec;
    int partition;
    uint32_t sms;
    size_t bytes;
    bool is_ready; /* it is on the device */
    unsigned used; /* when, once nobody wants it any more */
    struct has_variant *next;
};

/* An executable graph of the program. Its memory is reused, never freed: launches take no lock. */
struct has_graph {
    CUgraphExec exec;
    int partition; /* of its capture */
    uint32_t sms;
    unsigned long long flags;
    /* For launches. NULL stands for the program's own. */
    _Atomic(struct has_variant *) wanted;  /* by the helper, for the next launch */
    _Atomic(struct has_variant *) serving; /* changed only by who has the graph to itself */
    atomic_int users;                      /* threads that launch it, or HAS_MOVING */
    atomic_uint used;                      /* when it was launched last; 0: never */
    atomic_uint next_sms;                  /* of `wanted` */
    atomic_bool lost;                      /* it was launched on a lane that is gone */
    atomic_uint_fast64_t refused;          /* partitions that it cannot be on, one bit each */
    _Atomic(struct has_lane *) seen[HAS_SEEN]; /* lanes it was launched on since it changed */
    /* With the lock. */
    CUgraph kept; /* a copy that is ours; NULL: never made for another partition */
    size_t nodes;
    struct has_variant *variants;
    uint32_t index;
};

/* Guards everything but launches. Held while a graph is made, which takes milliseconds. */
extern pthread_mutex_t has_graph_lock;

/* Every graph, up to NULL. With the lock. */
struct has_graph *has_graph_at(uint32_t index);

/* NULL when it is not known. No lock. */
struct has_graph *has_graph_find(CUgraphExec exec);

/* --- graph_turn.c -------------------------------------------------------------------------- */

/* True: it is the caller's alone until given back. `take` waits for launches to be made. */
bool has_graph_try_take(struct has_graph *graph);
bool has_graph_take(struct has_graph *graph);
void has_graph_give_back(struct has_graph *graph);

/* Puts the program's own in place of what serves. With the graph taken. */
void has_graph_put_own(struct has_graph *graph);

/* What the next launch shall use; NULL: the program's own. */
void has_graph_want(struct has_graph *graph, struct has_variant *variant);

/* Makes the stream that comes after what was launched on streams that are gone. */
bool has_graph_limbo(void);
extern _Atomic(CUstream) has_graph_limbo_stream;

static inline uint64_t has_graph_bit(int partition)
{
    return 1ull << (partition + 1);
}

/* --- graph_keep.c -------------------------------------------------------------------------- */

/* Keeps a copy of what the graph was made of, where another partition is possible at all. */
void has_graph_keep(struct has_graph *graph, CUgraph from);

/* Lets go of the copy and of all that was made from it. With the lock. */
void has_graph_drop(struct has_graph *graph);

void has_graph_keep_nothing(void);
void has_graph_making_after_fork(void);

/* --- graph_copy.c -------------------------------------------------------------------------- */

/* A copy of a graph that consists only of nodes that can be placed elsewhere; NULL: it does not. */
CUgraph has_graph_copy(CUgraph from, struct has_graph *graph);

/* The copy made executable on a partition, and the SMs it uses there; NULL when the driver
 * refuses. */
CUgraphExec has_graph_place(struct has_graph *graph, int partition, uint32_t *sms);

#endif
