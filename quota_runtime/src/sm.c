#include "sm.h"

#include <pthread.h>
#include <sched.h>

#include "budget.h"
#include "capture.h"
#include "graph.h"
#include "legacy.h"
#include "making.h"
#include "meter.h"
#include "real.h"
#include "start.h"

#define SPINS 1000
#define PATIENCE 1000000 /* yields: who moves the lane may have lost its processor, or wait for the driver */

#define SOON_NS 20000000u
#define GRAPH_PATIENCE_NS 100000000u /* 16 graphs of 354 nodes were made in 68 ms */

atomic_uint has_tick_ms = 1;
static atomic_int target = HAS_WHOLE;       /* where lanes shall be */
static atomic_uint meant;                   /* SMs the limits grant; 0: unknown */
static atomic_uint unpriced;                /* the same, but 0 while their partition is made */
static atomic_bool given_up;
static _Atomic(const struct has_view *) pending; /* not reported in force yet */
static _Atomic(uint64_t) pending_since;
static _Atomic(CUcontext) primary; /* NULL: none yet */
/* Of two threads that decide where lanes go, the later one knows at least as much. */
static pthread_mutex_t deciding = PTHREAD_MUTEX_INITIALIZER;

/* Orders one stream after another; each thread has its own, so no two use one at a time. */
static _Thread_local CUevent fence;

uint32_t has_sm_meant(void)
{
    return atomic_load_explicit(&meant, memory_order_relaxed);
}

uint32_t has_sm_unpriced(void)
{
    return atomic_load_explicit(&unpriced, memory_order_relaxed);
}

uint32_t has_sm_of(const struct has_lane *lane)
{
    return has_partition_sms(atomic_load_explicit(&lane->partition, memory_order_acquire));
}

/* --- what the limits ask for --------------------------------------------------------------- */

static void report(const struct has_view *view)
{
    struct has_groups groups =
        has_partition_groups(atomic_load(&target), view->group_size);
    HAS_SET(sm_groups[0], groups.word[0]);
    HAS_SET(sm_groups[1], groups.word[1]);
    HAS_SET(quota_permille, view->quota_permille);
    HAS_SET(in_force_at_ns, (int64_t)has_now_ns());
    __atomic_store_n(&has_slot()->epoch_in_force, view->epoch, __ATOMIC_RELEASE);
}

/* In force once nothing runs outside the partition any more, graphs included as long as they can be
 * expected to move. Streams that are idle move with their next call. Until then more SMs than granted
 * are paid for in time. */
static void report_when_drained(void)
{
    const struct has_view *view = atomic_load(&pending);
    int partition = atomic_load(&target);
    uint64_t since = atomic_load(&pending_since), now = has_now_ns();
    bool with_graphs = now < since + GRAPH_PATIENCE_NS;
    if (!view || has_making_wanted() || !has_meter_drained(partition, with_graphs) ||
        (with_graphs && has_graph_behind(partition)))
        return;
    if (atomic_compare_exchange_strong(&pending, &view, NULL))
        report(view);
}

bool has_sm_pending(void)
{
    return atomic_load_explicit(&pending, memory_order_relaxed) &&
           has_now_ns() - atomic_load_explicit(&pending_since, memory_order_relaxed) < SOON_NS;
}

static bool wants_partition(const struct has_view *view)
{
    return view->flags & HAS_FLAG_SM && !atomic_load(&given_up) && atomic_load(&primary);
}

static void aim(int partition)
{
    if (atomic_exchange(&target, partition) != partition)
        HAS_COUNT(resizes, 1);
    if (partition != HAS_WHOLE)
        has_legacy_watch();
}

/* With `deciding` held. */
static void decide(const struct has_view *view)
{
    uint32_t total = has_device_sms();
    uint32_t quota = view->flags & HAS_FLAG_TIME ? view->quota_permille : 1000;
    bool partial = view->flags & HAS_FLAG_SM && total;
    atomic_store(&has_share_ppm, quota * (HAS_PPM / 1000));
    atomic_store(&meant, partial ? has_groups_sms(view->groups, total, view->group_size) : total);
    int partition = HAS_WHOLE;
    if (wants_partition(view))
        partition = has_partition_use(view->groups, view->group_size);
    has_making_want(partition < HAS_WHOLE ? view : NULL);
    atomic_store(&unpriced, partition < HAS_WHOLE ? 0 : atomic_load(&meant));
    if (partition >= HAS_WHOLE)
        aim(partition);
    atomic_store(&pending_since, has_now_ns());
    atomic_store(&pending, view);
}

void has_sm_apply(void)
{
    pthread_mutex_lock(&deciding);
    const struct has_view *view = atomic_load(&has_view_now);
    if (view)
        decide(view);
    pthread_mutex_unlock(&deciding);
    report_when_drained();
    if (atomic_load(&pending))
        has_helper_nudge();
}

/* Where it cannot be made, the whole GPU at a smaller share of time stands in. */
void has_sm_made(const struct has_view *view, int partition)
{
    pthread_mutex_lock(&deciding);
    if (has_making_made(view)) {
        atomic_store(&unpriced, atomic_load(&meant));
        aim(partition >= HAS_WHOLE ? partition : HAS_WHOLE);
    }
    pthread_mutex_unlock(&deciding);
    has_helper_nudge();
}

void has_sm_context(CUcontext context)
{
    atomic_store(&primary, context);
}

CUcontext has_sm_context_of(int partition)
{
    return partition == HAS_WHOLE ? atomic_load(&primary) : has_partition_context(partition);
}

int has_sm_partition_of(CUcontext context)
{
    return context == atomic_load(&primary) ? HAS_WHOLE : has_partition_of(context);
}

bool has_sm_moves_graphs(void)
{
    const struct has_view *view = has_limits_now();
    return view && wants_partition(view);
}

void has_sm_tick(void)
{
    const struct has_view *view = has_limits_now();
    atomic_store_explicit(&has_tick_ms, has_now_ms(), memory_order_relaxed);
    if (has_making_wanted()) {
        has_making_start();
        return;
    }
    report_when_drained();
    has_graph_tick(atomic_load(&target));
    if (view && wants_partition(view) && !atomic_load(&pending))
        has_making_ahead(view);
}

void has_sm_give_up(void)
{
    atomic_store(&given_up, true);
    has_sm_apply();
}

/* --- moving lanes -------------------------------------------------------------------------- */

static CUstream stream_on(struct has_lane *lane, int partition)
{
    CUstream none = NULL;
    if (partition < 0)
        return lane->app;
    CUstream stream = atomic_load(&lane->streams[partition]);
    if (stream)
        return stream;
    stream = has_partition_stream(partition, lane->priority);
    if (stream && !atomic_compare_exchange_strong(&lane->streams[partition], &none, stream)) {
        has_real.cuStreamDestroy_v2(stream);
        stream = none;
    }
    return stream;
}

bool has_sm_order(CUstream before, CUstream after)
{
    if (!fence && has_use.cuEventCreate(&fence, CU_EVENT_DISABLE_TIMING) != CUDA_SUCCESS)
        return false;
    return has_real.cuEventRecord(fence, before) == CUDA_SUCCESS &&
           has_real.cuStreamWaitEvent(after, fence, 0) == CUDA_SUCCESS;
}

/* With the lane to itself. A lane that cannot move stays, and pays for its SMs in time. */
static void move(struct has_lane *lane, int partition)
{
    uint64_t began = has_now_ns();
    CUstream to = stream_on(lane, partition), physical = partition < 0 ? NULL : to;
    CUstream from = has_sm_stream(lane);
    if (partition >= 0 && !to) {
        lane->fixed = true;
        return;
    }
    has_meter_close(lane);
    if (!has_sm_order(from, to))
        return;
    atomic_store_explicit(&lane->physical, physical, memory_order_release);
    atomic_store_explicit(&lane->partition, partition, memory_order_release);
    HAS_SET(resize_last_ns, has_now_ns() - began + has_making_held_ns());
}

static void move_if_alone(struct has_lane *lane, int partition)
{
    int nobody = 0;
    if (lane->fixed || has_capture_any() ||
        !atomic_compare_exchange_strong_explicit(&lane->users, &nobody, HAS_MOVING,
                                                 memory_order_acquire, memory_order_relaxed))
        return;
    move(lane, partition);
    atomic_fetch_sub_explicit(&lane->users, HAS_MOVING, memory_order_release);
}

/* On the old stream a call would come before what the new one waits for, or after it. */
static __attribute__((noinline)) void wait_until_moved(struct has_lane *lane)
{
    for (int i = 0; i < PATIENCE; i++) {
        if (atomic_load_explicit(&lane->users, memory_order_acquire) < HAS_MOVING)
            return;
        if (i > SPINS)
            sched_yield();
    }
}

CUstream has_sm_stay(struct has_lane *lane, CUstream stream)
{
    int users = atomic_fetch_add_explicit(&lane->users, 1, memory_order_acquire);
    if (__builtin_expect(users >= HAS_MOVING, 0))
        wait_until_moved(lane);
    CUstream physical = atomic_load_explicit(&lane->physical, memory_order_acquire);
    return physical ? physical : stream;
}

CUstream has_sm_enter(struct has_lane *lane, CUstream stream)
{
    atomic_store_explicit(&lane->used_ms,
                          atomic_load_explicit(&has_tick_ms, memory_order_relaxed),
                          memory_order_relaxed);
    int wanted = atomic_load_explicit(&target, memory_order_acquire);
    if (__builtin_expect(
            atomic_load_explicit(&lane->partition, memory_order_relaxed) != wanted, 0))
        move_if_alone(lane, wanted);
    CUstream placed = has_sm_stay(lane, stream);
    if (__builtin_expect(has_legacy_watched(), 0))
        has_legacy_join(lane);
    return placed;
}

void has_sm_leave(struct has_lane *lane)
{
    atomic_fetch_sub_explicit(&lane->users, 1, memory_order_release);
}

CUstream has_sm_stream(struct has_lane *lane)
{
    CUstream physical = atomic_load_explicit(&lane->physical, memory_order_acquire);
    return physical ? physical : lane->app;
}

/* --- the rest ------------------------------------------------------------------------------ */

static int widest_partition(const struct has_view *view)
{
    int widest = has_partition_make(view->most, view->group_size);
    return widest < HAS_WHOLE ? HAS_WHOLE : widest;
}

bool has_sm_widest(struct has_lane *lane, CUstream *wide)
{
    const struct has_view *view = has_limits_now();
    int here = atomic_load(&lane->partition);
    if (!view || here < 0)
        return false;
    int widest = widest_partition(view);
    CUstream to = stream_on(lane, widest);
    if (widest == here || (widest >= 0 && !to) || !has_sm_order(has_sm_stream(lane), to))
        return false;
    *wide = to;
    return true;
}

uint32_t has_sm_most(void)
{
    const struct has_view *view = has_limits_now();
    return has_partition_sms(view ? widest_partition(view) : HAS_WHOLE);
}

void has_sm_forget(CUstream stream)
{
    struct has_lane *lane = has_lane_of(stream, false);
    if (!lane)
        return;
    has_meter_close(lane);
    has_graph_lane_gone(lane);
    has_lane_lock();
    /* The driver lets work that is queued on a destroyed stream finish. */
    for (int i = 0; i < HAS_PARTITIONS; i++) {
        CUstream ours = atomic_exchange(&lane->streams[i], NULL);
        if (ours)
            has_real.cuStreamDestroy_v2(ours);
    }
    has_lane_forget(stream);
    has_lane_unlock();
}

CUresult has_sm_wait_all(void)
{
    struct has_lane *lane;
    CUresult result = CUDA_SUCCESS;
    for (uint32_t i = 0; result == CUDA_SUCCESS && (lane = has_lane_at(i)); i++) {
        CUstream physical = atomic_load(&lane->physical);
        if (atomic_load(&lane->key) > 1 && physical)
            result = has_real.cuStreamSynchronize(physical);
    }
    return result;
}

void has_sm_after_fork(void)
{
    atomic_store(&target, HAS_WHOLE);
    atomic_store(&primary, NULL);
    atomic_store(&pending, NULL);
    pthread_mutex_init(&deciding, NULL);
    has_making_after_fork();
    has_partition_after_fork();
    has_graph_after_fork();
}
