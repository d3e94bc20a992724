#include "graph.h"

#include <stdatomic.h>
#include <stdint.h>

#include "ledger.h"
#include "partition.h"

#define EXECS 8192u
#define GIVEN_UP ((uintptr_t)1)

/* Read on every graph launch, so without a lock; written by whoever makes or destroys one. */
static struct {
    _Atomic(uintptr_t) exec;
    atomic_uint sms;
} execs[EXECS];

/* The widest lane seen by the captures that are going on. */
static atomic_uint widest;

static uint32_t place(uintptr_t key)
{
    return (uint32_t)((key >> 4) * 0x9e3779b97f4a7c15ull >> 32) % EXECS;
}

void has_graph_captured(uint32_t sms)
{
    unsigned old = atomic_load_explicit(&widest, memory_order_relaxed);
    while (sms > old && !atomic_compare_exchange_weak(&widest, &old, sms))
        continue;
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

void has_graph_made(CUgraphExec exec, CUgraph graph)
{
    uint32_t sms = (uint32_t)has_ledger_get(HAS_LEDGER_GRAPH, (uintptr_t)graph);
    uintptr_t key = (uintptr_t)exec;
    for (uint32_t i = 0, at = place(key); i < EXECS && sms; i++, at = (at + 1) % EXECS) {
        uintptr_t here = atomic_load(&execs[at].exec);
        if (here > GIVEN_UP && here != key)
            continue;
        if (here != key && !atomic_compare_exchange_strong(&execs[at].exec, &here, key))
            continue;
        atomic_store_explicit(&execs[at].sms, sms, memory_order_release);
        return;
    }
}

void has_graph_exec_gone(CUgraphExec exec)
{
    uintptr_t key = (uintptr_t)exec;
    for (uint32_t i = 0, at = place(key); i < EXECS; i++, at = (at + 1) % EXECS) {
        uintptr_t here = atomic_load(&execs[at].exec);
        if (!here)
            return;
        if (here == key) {
            atomic_store(&execs[at].sms, 0);
            atomic_store(&execs[at].exec, GIVEN_UP);
            return;
        }
    }
}

uint32_t has_graph_sms(CUgraphExec exec)
{
    uintptr_t key = (uintptr_t)exec;
    for (uint32_t i = 0, at = place(key); i < EXECS; i++, at = (at + 1) % EXECS) {
        uintptr_t here = atomic_load_explicit(&execs[at].exec, memory_order_acquire);
        if (here == key) {
            uint32_t sms = atomic_load_explicit(&execs[at].sms, memory_order_acquire);
            return sms ? sms : has_device_sms();
        }
        if (!here)
            break;
    }
    return has_device_sms();
}
