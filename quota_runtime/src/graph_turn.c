/* One launch of a graph: which executable graph it is, and in what order.
 *
 * The driver runs the launches of one executable graph one after the other, whatever streams they
 * are on; programs rely on it. Where another stands in, its first launch comes after every lane on
 * which the one before it was launched, and until that launch is made nobody else launches either.
 */
#include <sched.h>

#include "capture.h"
#include "graph_parts.h"
#include "real.h"
#include "sm.h"

#define SPINS 1000
#define PATIENCE 1000000 /* yields: a launch may wait for room in the driver's queue */

_Atomic(CUstream) has_graph_limbo_stream;

bool has_graph_limbo(void)
{
    CUstream none = NULL, made = NULL;
    if (atomic_load(&has_graph_limbo_stream))
        return true;
    if (!has_use.cuStreamCreate)
        return false;
    CUstreamCaptureMode mode = has_capture_relax();
    has_use.cuStreamCreate(&made, CU_STREAM_NON_BLOCKING);
    has_capture_restore(mode);
    if (!made)
        return false;
    if (!atomic_compare_exchange_strong(&has_graph_limbo_stream, &none, made))
        has_real.cuStreamDestroy_v2(made);
    return true;
}

/* --- having a graph to oneself --------------------------------------------------------------- */

bool has_graph_try_take(struct has_graph *graph)
{
    int nobody = 0;
    return atomic_compare_exchange_strong(&graph->users, &nobody, HAS_MOVING);
}

bool has_graph_take(struct has_graph *graph)
{
    bool taken = has_graph_try_take(graph);
    for (int i = 0; i < PATIENCE && !taken; i++) {
        sched_yield();
        taken = has_graph_try_take(graph);
    }
    return taken;
}

void has_graph_give_back(struct has_graph *graph)
{
    atomic_fetch_sub(&graph->users, HAS_MOVING);
}

/* Serves as the program's own; but the next launch is ordered, since another was launched last. */
static struct has_variant own_again;

void has_graph_put_own(struct has_graph *graph)
{
    if (atomic_load(&graph->serving))
        atomic_store(&graph->serving, &own_again);
}

static void stay(struct has_graph *graph)
{
    int users = atomic_fetch_add(&graph->users, 1);
    for (int i = 0; users >= HAS_MOVING && i < PATIENCE; i++) {
        if (i > SPINS)
            sched_yield();
        users = atomic_load(&graph->users);
    }
}

/* --- order ----------------------------------------------------------------------------------- */

/* A stream that captures is ordered by the program, and nothing of ours may touch it. */
static void order(CUstream before, CUstream after)
{
    if (!has_capture_any() || (!has_capture_on(before, false) && !has_capture_on(after, false)))
        has_sm_order(before, after);
}

/* The default streams of other threads have no name of their own here. */
static bool can_order_after(struct has_lane *seen)
{
    return (!seen->per_thread || atomic_load(&seen->physical)) &&
           (!has_capture_any() || !has_capture_on(has_sm_stream(seen), false));
}

static bool can_order_after_seen(struct has_graph *graph, struct has_lane *lane)
{
    for (int i = 0; i < HAS_SEEN; i++) {
        struct has_lane *seen = atomic_load(&graph->seen[i]);
        if (seen && seen != lane && !can_order_after(seen))
            return false;
    }
    return true;
}

static void order_after_seen(struct has_graph *graph, struct has_lane *lane)
{
    for (int i = 0; i < HAS_SEEN; i++) {
        struct has_lane *seen = atomic_load(&graph->seen[i]);
        if (seen && seen != lane)
            order(has_sm_stream(seen), has_sm_stream(lane));
    }
    if (atomic_load(&graph->lost))
        order(atomic_load(&has_graph_limbo_stream), has_sm_stream(lane));
}

static void forget_seen(struct has_graph *graph)
{
    for (int i = 0; i < HAS_SEEN; i++)
        atomic_store(&graph->seen[i], NULL);
    atomic_store(&graph->lost, false);
}

/* A launch that no lane stands for any more is still waited for. */
static void into_limbo(struct has_graph *graph, struct has_lane *lane)
{
    CUstream limbo = atomic_load(&has_graph_limbo_stream);
    if (!limbo)
        return;
    order(has_sm_stream(lane), limbo);
    atomic_store(&graph->lost, true);
}

static void note(struct has_graph *graph, struct has_lane *lane)
{
    for (int i = 0; i < HAS_SEEN; i++) {
        struct has_lane *here = atomic_load_explicit(&graph->seen[i], memory_order_relaxed);
        if (here == lane ||
            (!here && atomic_compare_exchange_strong(&graph->seen[i], &here, lane)) ||
            here == lane)
            return;
    }
    /* What was launched on another comes before what is launched now, which is noted. */
    atomic_store(&graph->seen[0], lane);
}

void has_graph_lane_gone(struct has_lane *lane)
{
    pthread_mutex_lock(&has_graph_lock);
    struct has_graph *graph;
    for (uint32_t i = 0; (graph = has_graph_at(i)); i++)
        for (int k = 0; k < HAS_SEEN; k++) {
            struct has_lane *here = lane;
            if (atomic_compare_exchange_strong(&graph->seen[k], &here, NULL))
                into_limbo(graph, lane);
        }
    pthread_mutex_unlock(&has_graph_lock);
}

/* --- the launch ------------------------------------------------------------------------------ */

static void use(struct has_graph_turn *turn, const struct has_variant *variant)
{
    const struct has_graph *graph = turn->graph;
    if (variant == &own_again)
        variant = NULL;
    turn->exec = variant ? variant->exec : graph->exec;
    turn->sms = variant ? variant->sms : graph->sms;
    turn->partition = variant ? variant->partition : graph->partition;
}

struct has_graph_turn has_graph_look(CUgraphExec exec)
{
    struct has_graph *graph = has_graph_find(exec);
    uint32_t sms = graph ? atomic_load_explicit(&graph->next_sms, memory_order_relaxed)
                         : has_device_sms();
    return (struct has_graph_turn){exec, sms, HAS_MIXED, graph, 0};
}

void has_graph_want(struct has_graph *graph, struct has_variant *variant)
{
    atomic_store_explicit(&graph->next_sms, variant ? variant->sms : graph->sms,
                          memory_order_relaxed);
    atomic_store(&graph->wanted, variant);
}

static bool changes(struct has_graph *graph)
{
    return atomic_load_explicit(&graph->wanted, memory_order_relaxed) !=
           atomic_load_explicit(&graph->serving, memory_order_relaxed);
}

/* Until the launch is made; false: somebody else is inside, and what serves goes on serving. */
static bool change(struct has_graph *graph, struct has_lane *lane)
{
    if (!has_graph_try_take(graph))
        return false;
    /* Else it is launched once more as it is: the driver has that come after all before it, and
     * then it is enough to come after that. */
    if (atomic_load(&graph->serving) == &own_again || can_order_after_seen(graph, lane)) {
        atomic_store(&graph->serving, atomic_load(&graph->wanted));
        order_after_seen(graph, lane);
    }
    forget_seen(graph);
    return true;
}

void has_graph_enter(struct has_graph_turn *turn, struct has_lane *lane)
{
    struct has_graph *graph = turn->graph;
    if (!graph)
        return;
    if (__builtin_expect(changes(graph), 0) && change(graph, lane)) {
        turn->held = HAS_MOVING;
    } else {
        stay(graph);
        turn->held = 1;
    }
    use(turn, atomic_load_explicit(&graph->serving, memory_order_acquire));
    note(graph, lane);
    atomic_store_explicit(&graph->used, atomic_load_explicit(&has_tick_ms, memory_order_relaxed),
                          memory_order_relaxed);
}

void has_graph_leave(struct has_graph_turn *turn)
{
    if (turn->held)
        atomic_fetch_sub_explicit(&turn->graph->users, turn->held, memory_order_release);
    turn->held = 0;
}

bool has_graph_fall_back(struct has_graph_turn *turn, struct has_lane *lane)
{
    struct has_graph *graph = turn->graph;
    if (!graph || turn->exec == graph->exec)
        return false;
    atomic_fetch_or(&graph->refused, has_graph_bit(turn->partition));
    has_graph_want(graph, NULL);
    if (turn->held == HAS_MOVING)
        atomic_store(&graph->serving, NULL);
    order_after_seen(graph, lane);
    use(turn, NULL);
    return true;
}
