#include "making.h"

#include "capture.h"
#include "graph.h"
#include "real.h"
#include "sm.h"
#include "start.h"

#define LATELY_MS 1000u
#define PAUSE_MS 20u /* between two that are made ahead: the program shall not feel it */
#define STACK_BYTES ((size_t)1 << 20)
#define HOLD_NS 5000000u /* measured: 1.8 ms while the program's own work rests, 3 to 33 otherwise */
#define HOLD_NAP_NS 50000

static _Atomic(const struct has_view *) wanted; /* its partition does not exist yet */
static _Atomic(uint64_t) wanted_since;
static _Atomic(const struct has_view *) ahead;    /* one of its next ones is to be made */
static _Atomic(const struct has_view *) hopeless; /* one of its next ones cannot be had */
static atomic_uint looked_ms; /* for one that is lacking; or when the last one was made ahead */
static atomic_bool making;

/* Another thread may set it to a later time than this one reads off the clock. */
static uint64_t age_ns(_Atomic(uint64_t) *since_ns)
{
    uint64_t since = atomic_load(since_ns), now = has_now_ns();
    return now > since ? now - since : 0;
}

void has_making_want(const struct has_view *view)
{
    atomic_store(&wanted_since, has_now_ns());
    atomic_store(&wanted, view);
}

bool has_making_wanted(void)
{
    return atomic_load(&wanted);
}

bool has_making_made(const struct has_view *view)
{
    return atomic_compare_exchange_strong(&wanted, &view, NULL);
}

static _Thread_local uint64_t held_ns;

void has_making_hold(void)
{
    struct timespec nap = {0, HOLD_NAP_NS};
    uint64_t began = has_now_ns(), now = began;
    /* Limits may be written again and again, so the launch has a bound of its own. */
    while (has_making_wanted() && !has_capture_any() && now - began < HOLD_NS &&
           age_ns(&wanted_since) < HOLD_NS) {
        nanosleep(&nap, NULL);
        now = has_now_ns();
    }
    held_ns += now - began;
}

uint64_t has_making_held_ns(void)
{
    uint64_t held = held_ns;
    held_ns = 0;
    return held;
}

/* --- streams ------------------------------------------------------------------------------- */

static bool lacks_stream(struct has_lane *lane, int partition)
{
    return atomic_load(&lane->key) > 1 && !lane->fixed && !atomic_load(&lane->streams[partition]);
}

static bool used_lately(struct has_lane *lane)
{
    return has_now_ms() - atomic_load(&lane->used_ms) < LATELY_MS;
}

static bool prepare_stream(struct has_lane *lane, int partition)
{
    CUstream none = NULL;
    if (!lacks_stream(lane, partition))
        return true;
    /* The driver may wait for work; a launch on a new stream must not wait for the lock meanwhile. */
    CUstream fresh = has_partition_stream(partition, lane->priority);
    has_lane_lock();
    bool placed = fresh && lacks_stream(lane, partition) &&
                  atomic_compare_exchange_strong(&lane->streams[partition], &none, fresh);
    has_lane_unlock();
    if (fresh && !placed)
        has_real.cuStreamDestroy_v2(fresh);
    return fresh;
}

/* A stream for each lane ahead of its next call, so that the call need not wait for one. */
static bool prepare_streams(int partition, bool lately)
{
    struct has_lane *lane;
    bool all = true;
    for (uint32_t i = 0; partition >= 0 && (lane = has_lane_at(i)); i++) {
        if (used_lately(lane) != lately)
            continue;
        all = prepare_stream(lane, partition) && all;
    }
    return all;
}

static bool lacks_streams(int partition)
{
    struct has_lane *lane;
    for (uint32_t i = 0; partition >= 0 && (lane = has_lane_at(i)); i++)
        if (used_lately(lane) && lacks_stream(lane, partition))
            return true;
    return false;
}

/* --- what is wanted, and what may be -------------------------------------------------------- */

static void make_wanted(const struct has_view *view)
{
    HAS_COUNT(make_start_ns, age_ns(&wanted_since));
    int partition = has_partition_make(view->groups, view->group_size);
    uint64_t began = has_now_ns();
    prepare_streams(partition, true);
    HAS_COUNT(make_streams_ns, has_now_ns() - began);
    has_sm_made(view, partition);
    prepare_streams(partition, false);
}

/* One of the next partitions that is not ready; false: they all are. */
static bool lacking(const struct has_view *view, struct has_groups *found)
{
    for (unsigned i = 0; i < HAS_NEXT; i++) {
        *found = view->next[i];
        if (!has_groups_any(*found))
            continue;
        int there = has_partition_there(*found, view->group_size);
        if (there == HAS_NOWHERE || lacks_streams(there))
            return true;
    }
    return false;
}

static void make_ahead(const struct has_view *view)
{
    struct has_groups groups;
    has_partition_lock();
    if (lacking(view, &groups)) {
        int partition = has_partition_make_ahead(groups, view->group_size, view->next);
        if (partition == HAS_NOWHERE || !prepare_streams(partition, true))
            atomic_store(&hopeless, view);
    }
    has_partition_unlock();
    atomic_store(&looked_ms, has_now_ms());
}

static void make(void)
{
    const struct has_view *view;
    has_use.cuCtxSetCurrent(has_sm_context_of(HAS_WHOLE));
    has_capture_relax();
    while (!has_capture_any() && !has_leaving()) {
        if ((view = atomic_load(&wanted)))
            make_wanted(view);
        else if ((view = atomic_exchange(&ahead, NULL)))
            make_ahead(view);
        else
            break;
    }
    atomic_store(&making, false);
}

void has_making_start(void)
{
    if (!has_capture_any() && !atomic_exchange(&making, true) &&
        !has_thread_start(make, STACK_BYTES))
        atomic_store(&making, false);
}

void has_making_ahead(const struct has_view *view)
{
    struct has_groups groups;
    uint32_t now = has_now_ms();
    if (atomic_load(&making) || now - atomic_load(&looked_ms) < PAUSE_MS)
        return;
    atomic_store(&looked_ms, now);
    if (atomic_load(&hopeless) == view || has_graph_making() || !lacking(view, &groups))
        return;
    atomic_store(&ahead, view);
    has_making_start();
}

void has_making_after_fork(void)
{
    atomic_store(&wanted, NULL);
    atomic_store(&ahead, NULL);
    atomic_store(&hopeless, NULL);
    atomic_store(&making, false);
}
