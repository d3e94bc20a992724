/* The table of executable graphs, and what the captures that are going on use. */
#include "graph_parts.h"

#include <stdlib.h>
#include <string.h>

#include "ledger.h"

#define GIVEN_UP ((uintptr_t)1)

/* Read on every graph launch, so without a lock; written with it. */
static struct {
    _Atomic(uintptr_t) exec;
    _Atomic(struct has_graph *) graph;
} table[HAS_GRAPHS];

static struct has_graph *graphs[HAS_GRAPHS]; /* those in the table, without holes */
static uint32_t count;
static struct has_graph *spare[HAS_GRAPHS];
static uint32_t spares;
pthread_mutex_t has_graph_lock = PTHREAD_MUTEX_INITIALIZER;

/* --- captures ------------------------------------------------------------------------------ */

/* The widest lane seen by the captures that are going on. */
static atomic_uint widest;

void has_graph_captured(uint32_t sms)
{
    unsigned old = atomic_load_explicit(&widest, memory_order_relaxed);
    while (sms > old && !atomic_compare_exchange_weak(&widest, &old, sms))
        continue;
}

void has_graph_captured_graph(const struct has_graph_turn *turn)
{
    has_graph_captured(turn->graph ? turn->graph->sms : has_device_sms());
}

void has_graph_ended(CUgraph graph)
{
    uint32_t sms = atomic_exchange(&widest, 0);
    if (graph)
        has_ledger_add(HAS_LEDGER_GRAPH, (uintptr_t)graph, sms);
}

void has_graph_gone(CUgraph graph)
{
    has_ledger_remove(HAS_LEDGER_GRAPH, (uintptr_t)graph);
}

/* --- the table ----------------------------------------------------------------------------- */

static uint32_t place(uintptr_t key)
{
    return (uint32_t)((key >> 4) * 0x9e3779b97f4a7c15ull >> 32) % HAS_GRAPHS;
}

struct has_graph *has_graph_find(CUgraphExec exec)
{
    uintptr_t key = (uintptr_t)exec;
    for (uint32_t i = 0, at = place(key); i < HAS_GRAPHS; i++, at = (at + 1) % HAS_GRAPHS) {
        uintptr_t here = atomic_load_explicit(&table[at].exec, memory_order_acquire);
        if (here == key)
            return atomic_load_explicit(&table[at].graph, memory_order_acquire);
        if (!here)
            return NULL;
    }
    return NULL;
}

struct has_graph *has_graph_at(uint32_t index)
{
    return index < count ? graphs[index] : NULL;
}

static struct has_graph *fresh(void)
{
    struct has_graph *graph = spares ? spare[--spares] : malloc(sizeof *graph);
    if (graph)
        memset(graph, 0, sizeof *graph);
    return graph;
}

/* With the lock. */
static bool enter_table(struct has_graph *graph)
{
    uintptr_t key = (uintptr_t)graph->exec;
    for (uint32_t i = 0, at = place(key); i < HAS_GRAPHS; i++, at = (at + 1) % HAS_GRAPHS) {
        if (atomic_load(&table[at].exec) > GIVEN_UP)
            continue;
        graph->index = count;
        graphs[count++] = graph;
        atomic_store(&table[at].graph, graph);
        atomic_store_explicit(&table[at].exec, key, memory_order_release);
        return true;
    }
    return false;
}

/* With the lock. */
static void leave_table(struct has_graph *graph)
{
    uintptr_t key = (uintptr_t)graph->exec;
    for (uint32_t i = 0, at = place(key); i < HAS_GRAPHS; i++, at = (at + 1) % HAS_GRAPHS)
        if (atomic_load(&table[at].exec) == key) {
            atomic_store(&table[at].exec, GIVEN_UP);
            atomic_store(&table[at].graph, NULL);
            break;
        }
    graphs[graph->index] = graphs[--count];
    graphs[graph->index]->index = graph->index;
    spare[spares++] = graph;
}

void has_graph_made(CUgraphExec exec, CUgraph from, unsigned long long flags)
{
    uint32_t known = (uint32_t)has_ledger_get(HAS_LEDGER_GRAPH, (uintptr_t)from);
    has_graph_exec_gone(exec); /* destroyed where nobody told us */
    pthread_mutex_lock(&has_graph_lock);
    struct has_graph *graph = fresh();
    if (graph) {
        graph->exec = exec;
        graph->flags = flags;
        graph->sms = known ? known : has_device_sms();
        graph->partition = HAS_MIXED;
        has_graph_keep(graph, from);
        if ((!known && !graph->kept) || !enter_table(graph)) {
            has_graph_drop(graph);
            spare[spares++] = graph;
        }
    }
    pthread_mutex_unlock(&has_graph_lock);
}

void has_graph_exec_gone(CUgraphExec exec)
{
    pthread_mutex_lock(&has_graph_lock);
    struct has_graph *graph = has_graph_find(exec);
    if (graph) {
        has_graph_drop(graph);
        leave_table(graph);
    }
    pthread_mutex_unlock(&has_graph_lock);
}

static void forget_all(void)
{
    memset(table, 0, sizeof table);
    count = spares = 0;
    atomic_store(&has_graph_limbo_stream, NULL);
    has_graph_keep_nothing();
}

void has_graph_lost(void)
{
    pthread_mutex_lock(&has_graph_lock);
    forget_all();
    pthread_mutex_unlock(&has_graph_lock);
}

void has_graph_after_fork(void)
{
    pthread_mutex_init(&has_graph_lock, NULL);
    atomic_store(&widest, 0);
    has_graph_making_after_fork();
    forget_all();
}
