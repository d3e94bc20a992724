#include "legacy.h"

#include "capture.h"
#include "real.h"
#include "sm.h"

atomic_bool has_legacy_on;

static bool outside(struct has_lane *lane)
{
    return atomic_load_explicit(&lane->partition, memory_order_relaxed) != HAS_WHOLE;
}

/* The driver orders two streams of its own; a stream that captures is ordered by the program. */
static bool needs_order(struct has_lane *one, struct has_lane *other)
{
    return (outside(one) || outside(other)) &&
           !(has_capture_any() && (has_capture_on(has_sm_stream(one), false) ||
                                   has_capture_on(has_sm_stream(other), false)));
}

static void join_blocking(struct has_lane *legacy)
{
    struct has_lane *lane;
    for (uint32_t i = 0; (lane = has_lane_at(i)); i++) {
        unsigned work = atomic_load_explicit(&lane->work, memory_order_acquire);
        if (!lane->blocking || atomic_load(&lane->key) < 2 ||
            atomic_exchange(&lane->seen, work) == work)
            continue;
        if (needs_order(lane, legacy))
            has_sm_order(has_sm_stream(lane), has_sm_stream(legacy));
    }
}

static void join_legacy(struct has_lane *lane)
{
    struct has_lane *legacy = has_lane_of(NULL, false);
    if (!legacy)
        return;
    unsigned work = atomic_load_explicit(&legacy->work, memory_order_acquire);
    if (atomic_exchange(&lane->joined, work) != work && needs_order(lane, legacy))
        has_sm_order(has_sm_stream(legacy), has_sm_stream(lane));
}

void has_legacy_join(struct has_lane *lane)
{
    if (lane->legacy)
        join_blocking(lane);
    else if (lane->blocking)
        join_legacy(lane);
    else
        return;
    atomic_fetch_add_explicit(&lane->work, 1, memory_order_release);
}

/* The driver's own default stream takes part for one call: after our stream, and before it. */
void has_sm_before_default(struct has_lane *lane)
{
    if (lane && outside(lane))
        has_sm_order(has_sm_stream(lane), lane->app);
}

void has_sm_after_default(struct has_lane *lane)
{
    if (lane && outside(lane))
        has_sm_order(lane->app, has_sm_stream(lane));
}
