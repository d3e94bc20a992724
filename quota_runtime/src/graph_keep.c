/* Which graphs are made executable for which partition, and how long that is kept.
 *
 * A graph is made for the partition in force once it has been launched lately: one after the
 * other, the one launched last first, by a thread that lives as long as there are any. What was
 * made is kept for the next time its partition comes, until the bytes of all together are too
 * many; then what was not used for longest goes.
 */
#include "graph_parts.h"

#include <sched.h>
#include <stdlib.h>

#include "capture.h"
#include "graph_rules.h"
#include "real.h"
#include "sm.h"
#include "start.h"

/* Measured on an H100, of 134 and 354 nodes: 6 to 7 KiB of the host's memory a node, and 3 to 4 of
 * the device's. The bound is 22 000 nodes, 70 MiB of the device: what 13 partitions cost. */
#define BYTES_A_NODE (12u << 10)
#define BYTES_MOST ((size_t)256 << 20)
#define STALE_MS 200u /* used since: not given up for another, or two would take turns for ever */
#define FULL_MS 20u   /* until it is tried again */
#define STACK_BYTES ((size_t)4 << 20)

static size_t bytes_kept;
static atomic_int wanted_partition;
static atomic_bool making;
static unsigned unloaded; /* when something that graphs are made of went away */
static unsigned full;     /* when there was no room for another */

void has_graph_keep(struct has_graph *graph, CUgraph from)
{
    has_graph_want(graph, NULL);
    if (has_sm_moves_graphs() && has_graph_limbo())
        graph->kept = has_graph_copy(from, graph);
}

/* With the lock and the graph taken, or wanted and served by nobody. */
static void destroy(struct has_graph *graph, struct has_variant *variant)
{
    struct has_variant **at = &graph->variants;
    while (*at != variant)
        at = &(*at)->next;
    *at = variant->next;
    bytes_kept -= variant->bytes;
    /* The driver lets launches that are under way finish. */
    has_real.cuGraphExecDestroy(variant->exec);
    free(variant);
}

void has_graph_drop(struct has_graph *graph)
{
    if (!graph->kept)
        return;
    has_graph_want(graph, NULL);
    bool taken = has_graph_take(graph);
    has_graph_put_own(graph);
    if (taken)
        has_graph_give_back(graph);
    while (graph->variants)
        destroy(graph, graph->variants);
    has_real.cuGraphDestroy(graph->kept);
    graph->kept = NULL;
}

void has_graph_changed(CUgraphExec exec)
{
    pthread_mutex_lock(&has_graph_lock);
    struct has_graph *graph = has_graph_find(exec);
    if (graph)
        has_graph_drop(graph);
    pthread_mutex_unlock(&has_graph_lock);
}

void has_graph_unloading(void)
{
    pthread_mutex_lock(&has_graph_lock);
    unloaded = atomic_load(&has_tick_ms);
    pthread_mutex_unlock(&has_graph_lock);
}

/* --- what stays ------------------------------------------------------------------------------ */

static unsigned last_use(const struct has_graph *graph, const struct has_variant *variant)
{
    return atomic_load(&graph->wanted) == variant ? atomic_load(&graph->used) : variant->used;
}

/* Lets one go that was not used since `before`; false: all were, or it is being launched. */
static bool let_one_go(unsigned before)
{
    struct has_graph *graph, *of = NULL;
    struct has_variant *oldest = NULL;
    for (uint32_t i = 0; (graph = has_graph_at(i)); i++)
        for (struct has_variant *v = graph->variants; v; v = v->next)
            if (!oldest || (int)(last_use(graph, v) - last_use(of, oldest)) < 0) {
                oldest = v;
                of = graph;
            }
    if (!oldest || (int)(last_use(of, oldest) - before) >= 0)
        return false;
    if (atomic_load(&of->wanted) == oldest)
        has_graph_want(of, NULL);
    if (!has_graph_try_take(of))
        return false;
    if (atomic_load(&of->serving) == oldest)
        has_graph_put_own(of);
    has_graph_give_back(of);
    destroy(of, oldest);
    return true;
}

static bool make_room(size_t bytes, unsigned before)
{
    while (bytes_kept + bytes > BYTES_MOST)
        if (!let_one_go(before))
            return false;
    return true;
}

/* --- what is made ---------------------------------------------------------------------------- */

static void want(struct has_graph *graph, struct has_variant *variant)
{
    struct has_variant *before = atomic_load(&graph->wanted);
    if (before)
        before->used = atomic_load(&has_tick_ms);
    has_graph_want(graph, variant);
}

/* False: there is no room for another now. */
static bool make(struct has_graph *graph, int partition)
{
    size_t bytes = graph->nodes * BYTES_A_NODE;
    unsigned now = atomic_load(&has_tick_ms);
    if (!make_room(bytes, now - STALE_MS)) {
        full = now;
        return false;
    }
    struct has_variant *made = malloc(sizeof *made);
    if (!made)
        return false;
    *made = (struct has_variant){.partition = partition, .bytes = bytes, .used = now};
    made->exec = has_graph_place(graph, partition, &made->sms);
    if (!made->exec) {
        atomic_fetch_or(&graph->refused, has_graph_bit(partition));
        free(made);
        return true;
    }
    made->next = graph->variants;
    graph->variants = made;
    bytes_kept += bytes;
    /* Else the first launch has to send it to the device. */
    has_real.cuGraphUpload(made->exec, atomic_load(&has_graph_limbo_stream));
    return true;
}

static bool is_ready(struct has_variant *variant)
{
    if (!variant->is_ready)
        variant->is_ready =
            has_real.cuStreamQuery(atomic_load(&has_graph_limbo_stream)) != CUDA_ERROR_NOT_READY;
    return variant->is_ready;
}

static struct has_variant *made_for(const struct has_graph *graph, int partition)
{
    struct has_variant *variant = graph->variants;
    while (variant && variant->partition != partition)
        variant = variant->next;
    return variant;
}

/* Uses what there is for a partition; true: nothing is, and it is worth making. */
static bool lacks(struct has_graph *graph, int partition, unsigned now)
{
    const struct has_variant *wanted = atomic_load(&graph->wanted);
    if (!graph->kept || (wanted ? wanted->partition : graph->partition) == partition)
        return false;
    struct has_variant *there = made_for(graph, partition);
    if (atomic_load(&graph->refused) & has_graph_bit(partition))
        there = NULL;
    else if (!there && partition != graph->partition)
        return has_graph_in_use(now, atomic_load(&graph->used), unloaded);
    if (there != wanted && (!there || is_ready(there)))
        want(graph, there);
    return false;
}

/* Uses what is there already, and says what to make next. With the lock. */
static struct has_graph *look(int partition, unsigned now)
{
    struct has_graph *graph, *next = NULL;
    for (uint32_t i = 0; (graph = has_graph_at(i)); i++)
        if (lacks(graph, partition, now) &&
            (!next || (int)(atomic_load(&graph->used) - atomic_load(&next->used)) > 0))
            next = graph;
    return full && now - full < FULL_MS ? NULL : next;
}

static bool make_next(void)
{
    int partition = atomic_load(&wanted_partition);
    pthread_mutex_lock(&has_graph_lock);
    struct has_graph *next = look(partition, atomic_load(&has_tick_ms));
    bool can = next && !has_capture_any() && make(next, partition);
    pthread_mutex_unlock(&has_graph_lock);
    return can;
}

static void make_all(void)
{
    has_use.cuCtxSetCurrent(has_sm_context_of(HAS_WHOLE));
    has_capture_relax();
    while (!has_leaving() && make_next())
        sched_yield(); /* others may want the lock */
    atomic_store(&making, false);
}

void has_graph_tick(int partition)
{
    unsigned now = atomic_load(&has_tick_ms);
    atomic_store(&wanted_partition, partition);
    if (pthread_mutex_trylock(&has_graph_lock) != 0)
        return;
    struct has_graph *next = look(partition, now);
    pthread_mutex_unlock(&has_graph_lock);
    if (!next || has_capture_any() || atomic_exchange(&making, true))
        return;
    if (!has_thread_start(make_all, STACK_BYTES))
        atomic_store(&making, false);
}

static bool can_move(const struct has_graph *graph, int partition)
{
    return !(atomic_load_explicit(&graph->refused, memory_order_relaxed) &
             has_graph_bit(partition));
}

static bool is_behind(const struct has_graph *graph, int partition, unsigned now)
{
    const struct has_variant *wanted = atomic_load(&graph->wanted);
    int next = wanted ? wanted->partition : graph->partition;
    return graph->kept && can_move(graph, partition) && !has_partition_within(next, partition) &&
           has_graph_in_use(now, atomic_load(&graph->used), unloaded);
}

bool has_graph_behind(int partition)
{
    struct has_graph *graph;
    bool behind = false;
    if (pthread_mutex_trylock(&has_graph_lock) != 0)
        return true;
    for (uint32_t i = 0; !behind && (graph = has_graph_at(i)); i++)
        behind = is_behind(graph, partition, atomic_load(&has_tick_ms));
    pthread_mutex_unlock(&has_graph_lock);
    return behind;
}

int has_graph_elsewhere(const struct has_graph_turn *turn, int partition)
{
    bool moves = turn->graph && turn->partition >= HAS_WHOLE && turn->partition != partition &&
                 can_move(turn->graph, partition);
    return moves ? turn->partition : HAS_NOWHERE;
}

bool has_graph_making(void)
{
    return atomic_load(&making);
}

void has_graph_keep_nothing(void)
{
    bytes_kept = 0;
}

void has_graph_making_after_fork(void)
{
    atomic_store(&making, false);
}
