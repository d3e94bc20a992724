#include "meter.h"

#include <immintrin.h>

#include "capture.h"
#include "estimate.h"
#include "real.h"
#include "timeline.h"

#define PATIENCE 2000       /* tries for the claim; then the launch is metered by its estimate */
#define STALE_NS 300000u    /* an open batch with no new launch is ended after this */
#define FORSAKEN_NS 20000000u /* the same where only the program's own thread could end it */
#define LONG_BATCH_NS 4000000u

/* One claim for all of metering. Nobody waits for it: who cannot have it soon goes on. */
static atomic_flag claim = ATOMIC_FLAG_INIT;
static atomic_uint in_flight;
static _Atomic uint64_t outstanding_ns; /* expected of all that is in flight; changed with the claim */
static _Atomic uint64_t progress_at_ns; /* when work began after idleness, or came to its end */

static bool try_claim(int patience)
{
    while (atomic_flag_test_and_set_explicit(&claim, memory_order_acquire)) {
        if (--patience <= 0)
            return false;
        _mm_pause();
    }
    return true;
}

static void give_back(void)
{
    atomic_flag_clear_explicit(&claim, memory_order_release);
}

/* With the claim. */
static void expect(int64_t ns)
{
    uint64_t old = atomic_load_explicit(&outstanding_ns, memory_order_relaxed);
    atomic_store_explicit(&outstanding_ns, old + (uint64_t)ns, memory_order_relaxed);
}

static void one_less_in_flight(void)
{
    atomic_store_explicit(&progress_at_ns, has_now_ns(), memory_order_relaxed);
    atomic_fetch_sub_explicit(&in_flight, 1, memory_order_release);
}

static CUresult record(struct has_lane *lane, CUevent event)
{
    CUstream stream = atomic_load_explicit(&lane->physical, memory_order_relaxed);
    return has_real.cuEventRecord(event, stream ? stream : lane->app);
}

static void settle(struct has_lane *lane, struct has_batch *batch)
{
    const struct has_view *view = atomic_load(&has_view_now);
    int64_t actual = has_timeline_busy(batch->begin, batch->end, &lane->last_end_ns);
    if (actual < 0)
        actual = (int64_t)batch->expected_ns; /* the events are lost with their context */
    else
        has_estimate_learn(batch->keys,
                           batch->launches < HAS_BATCH_LAUNCHES ? batch->launches
                                                                : HAS_BATCH_LAUNCHES,
                           (uint64_t)actual);
    HAS_COUNT(gpu_time_ns, (uint64_t)actual);
    HAS_COUNT(area_sm_ns, (uint64_t)actual * batch->sms);
    if (batch->borrowed)
        HAS_COUNT(borrowed_ns, (uint64_t)actual);
    expect(-(int64_t)batch->expected_ns);
    if (view)
        has_gate_settle(view, actual, batch->taken_ns, batch->sms);
    has_timeline_recycle(batch->begin);
    has_timeline_recycle(batch->end);
}

/* With the claim. */
static void harvest_lane(struct has_lane *lane)
{
    while (lane->head != lane->tail) {
        struct has_batch *batch = &lane->done[lane->head % HAS_BATCHES];
        if (has_use.cuEventQuery(batch->end) == CUDA_ERROR_NOT_READY)
            return;
        settle(lane, batch);
        lane->head++;
        one_less_in_flight();
    }
}

static void harvest_all(void)
{
    struct has_lane *lane;
    for (uint32_t i = 0; (lane = has_lane_at(i)); i++)
        if (lane->head != lane->tail)
            harvest_lane(lane);
}

/* With the claim. No event tells how long it took: what was expected stands. */
static void give_up(struct has_batch *batch)
{
    has_timeline_recycle(batch->begin);
    expect(-(int64_t)batch->expected_ns);
    HAS_COUNT(gpu_time_ns, batch->expected_ns);
    HAS_COUNT(area_sm_ns, batch->expected_ns * batch->sms);
}

/* With the claim. */
static void end_batch(struct has_lane *lane, bool can_record)
{
    if (!lane->is_open || lane->tail - lane->head >= HAS_BATCHES)
        return;
    struct has_batch *batch = &lane->open;
    batch->end = can_record ? has_timeline_event() : NULL;
    if (!batch->end || record(lane, batch->end) != CUDA_SUCCESS) {
        has_timeline_recycle(batch->end);
        give_up(batch);
    } else {
        lane->done[lane->tail++ % HAS_BATCHES] = *batch;
        atomic_fetch_add_explicit(&in_flight, 1, memory_order_relaxed);
    }
    lane->is_open = false;
    one_less_in_flight();
}

/* With the claim. A batch that follows one still running begins where that one ends. */
static void begin_batch(struct has_lane *lane, bool borrowed)
{
    harvest_lane(lane);
    lane->open.begin = lane->head == lane->tail ? has_timeline_event() : NULL;
    if (lane->open.begin && record(lane, lane->open.begin) != CUDA_SUCCESS) {
        has_timeline_recycle(lane->open.begin);
        lane->open.begin = NULL;
    }
    __atomic_store_n(&lane->open.expected_ns, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&lane->open.launches, 0, __ATOMIC_RELAXED);
    lane->open.taken_ns = 0;
    lane->open.sms = 0;
    lane->open.borrowed = borrowed;
    lane->looked_at = 0;
    lane->open.partition = atomic_load(&lane->partition);
    lane->open.elsewhere = HAS_NOWHERE;
    lane->is_open = true;
    lane->opened_at_ns = has_now_ns();
    if (atomic_fetch_add_explicit(&in_flight, 1, memory_order_relaxed) == 0)
        atomic_store_explicit(&progress_at_ns, lane->opened_at_ns, memory_order_relaxed);
}

void has_meter_before(struct has_lane *lane, uint16_t key, uint32_t expected_ns,
                      struct has_pass pass, uint32_t sms)
{
    if (!try_claim(PATIENCE)) {
        /* Gated, but no event will tell its time: what was expected stands, also in the budget. */
        HAS_COUNT(gpu_time_ns, expected_ns);
        HAS_COUNT(area_sm_ns, (uint64_t)expected_ns * sms);
        return;
    }
    if (__builtin_expect(lane->is_open && lane->open.borrowed != pass.borrowed, 0))
        end_batch(lane, true);
    if (!lane->is_open)
        begin_batch(lane, pass.borrowed);
    struct has_batch *batch = &lane->open;
    if (batch->launches < HAS_BATCH_LAUNCHES)
        batch->keys[batch->launches] = key;
    __atomic_store_n(&batch->launches, batch->launches + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&batch->expected_ns, batch->expected_ns + expected_ns, __ATOMIC_RELAXED);
    batch->taken_ns += pass.taken_ns;
    expect(expected_ns);
    if (sms > batch->sms)
        batch->sms = sms;
    give_back();
}

static uint64_t longest_batch(const struct has_view *view)
{
    if (atomic_load_explicit(&has_share_ppm, memory_order_relaxed) >= 1000000u)
        return LONG_BATCH_NS;
    uint64_t slice = view->max_outstanding_ns / 2;
    return slice < 100000u ? 100000u : slice;
}

void has_meter_after(struct has_lane *lane, const struct has_view *view, bool at_once)
{
    /* Read without the claim: at worst the next launch ends the batch. */
    if (!at_once &&
        __atomic_load_n(&lane->open.launches, __ATOMIC_RELAXED) < HAS_BATCH_LAUNCHES &&
        __atomic_load_n(&lane->open.expected_ns, __ATOMIC_RELAXED) < longest_batch(view))
        return;
    if (!try_claim(PATIENCE))
        return;
    end_batch(lane, true);
    give_back();
}

void has_meter_close(struct has_lane *lane)
{
    if (!try_claim(PATIENCE * 100))
        return;
    end_batch(lane, true);
    give_back();
}

void has_meter_widen(struct has_lane *lane, uint32_t sms)
{
    if (!try_claim(PATIENCE * 100))
        return;
    if (lane->is_open && sms > lane->open.sms)
        lane->open.sms = sms;
    end_batch(lane, true);
    give_back();
}

void has_meter_harvest(void)
{
    if (!has_meter_busy() || has_capture_any() || !try_claim(1))
        return;
    harvest_all();
    give_back();
}

/* The driver's default stream of another thread cannot be named here; a stream of ours can. */
static bool can_record_on(const struct has_lane *lane)
{
    return !lane->per_thread || atomic_load(&lane->physical);
}

static void end_stale(struct has_lane *lane, uint64_t now)
{
    bool can_record = can_record_on(lane);
    if (can_record || now - lane->opened_at_ns > FORSAKEN_NS)
        end_batch(lane, can_record);
}

/* Under a lease others wait for the end, so a batch ends when no launch came since the last look. */
static bool is_stale(struct has_lane *lane, uint64_t now, bool leased)
{
    uint32_t launches = lane->open.launches, before = lane->looked_at;
    lane->looked_at = launches;
    return now - lane->opened_at_ns > STALE_NS || (leased && launches == before);
}

void has_meter_tick(void)
{
    if (!has_meter_busy() || !try_claim(1))
        return;
    uint64_t now = has_now_ns();
    const struct has_view *view = atomic_load(&has_view_now);
    bool leased = view && view->flags & HAS_VIEW_LEASED;
    struct has_lane *lane;
    /* A capture begins only after taking the claim, so this look stays true while we hold it. */
    for (uint32_t i = 0; !has_capture_any() && (lane = has_lane_at(i)); i++)
        if (lane->is_open && is_stale(lane, now, leased))
            end_stale(lane, now);
    if (!has_capture_any())
        harvest_all();
    give_back();
}

void has_meter_flush(struct has_lane *own)
{
    struct has_lane *lane;
    if (!has_meter_busy() || has_capture_any() || !try_claim(PATIENCE))
        return;
    for (uint32_t i = 0; (lane = has_lane_at(i)); i++)
        if (lane->is_open && (lane == own || can_record_on(lane)))
            end_batch(lane, true);
    harvest_all();
    give_back();
}

void has_meter_elsewhere(struct has_lane *lane, int partition)
{
    if (!try_claim(PATIENCE * 100))
        return;
    if (lane->is_open)
        lane->open.elsewhere = partition;
    give_back();
}

static bool is_on(const struct has_batch *batch, int partition, bool with_graphs)
{
    return batch->partition == partition &&
           !(with_graphs && batch->elsewhere != HAS_NOWHERE &&
             !has_partition_within(batch->elsewhere, partition));
}

static bool lane_drained(const struct has_lane *lane, int partition, bool with_graphs)
{
    if (lane->is_open && !is_on(&lane->open, partition, with_graphs))
        return false;
    for (uint32_t i = lane->head; i != lane->tail; i++)
        if (!is_on(&lane->done[i % HAS_BATCHES], partition, with_graphs))
            return false;
    return true;
}

bool has_meter_drained(int partition, bool with_graphs)
{
    struct has_lane *lane;
    bool drained = true;
    if (!has_meter_busy())
        return true;
    if (!try_claim(1))
        return false;
    for (uint32_t i = 0; drained && (lane = has_lane_at(i)); i++)
        drained = lane->fixed || lane_drained(lane, partition, with_graphs);
    give_back();
    return drained;
}

bool has_meter_busy(void)
{
    return atomic_load_explicit(&in_flight, memory_order_acquire) > 0;
}

uint64_t has_meter_outstanding(void)
{
    return atomic_load_explicit(&outstanding_ns, memory_order_relaxed);
}

uint64_t has_meter_stalled(uint64_t now_ns)
{
    uint64_t at = has_meter_idle_since();
    return has_meter_busy() && now_ns > at ? now_ns - at : 0;
}

uint64_t has_meter_remaining(uint64_t now_ns)
{
    uint64_t expected = has_meter_outstanding(), passed = has_meter_stalled(now_ns);
    return expected > passed ? expected - passed : 0;
}

uint64_t has_meter_idle_since(void)
{
    return atomic_load_explicit(&progress_at_ns, memory_order_relaxed);
}

void has_meter_after_fork(void)
{
    atomic_flag_clear(&claim);
    atomic_store(&in_flight, 0);
    atomic_store(&outstanding_ns, 0);
    has_timeline_after_fork();
}
