#include "estimate.h"

#include <stdatomic.h>

#define SHORTEST_NS 200u
#define LONGEST_NS 2000000000u

/* 0 = never seen. Two functions that share a place share a figure: the batch stays right. */
static atomic_uint learnt[HAS_ESTIMATES];

uint32_t has_estimate_of(uint16_t key)
{
    uint32_t value = atomic_load_explicit(&learnt[key % HAS_ESTIMATES], memory_order_relaxed);
    return value ? value : HAS_ESTIMATE_FIRST_NS;
}

void has_estimate_learn(const uint16_t *keys, uint32_t count, uint64_t actual_ns)
{
    uint64_t expected_ns = 0;
    for (uint32_t i = 0; i < count; i++)
        expected_ns += has_estimate_of(keys[i]);
    if (!expected_ns)
        return;
    /* In 1/256; a batch of strangers may be far off, so one step may be large. */
    uint64_t ratio = actual_ns * 256 / expected_ns;
    ratio = ratio < 16 ? 16 : ratio > 256 * 1000 ? 256 * 1000 : ratio;
    uint64_t done[HAS_ESTIMATES / 64] = {0};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = keys[i] % HAS_ESTIMATES;
        if (done[index / 64] >> index % 64 & 1)
            continue;
        done[index / 64] |= 1ull << index % 64;
        uint64_t old = atomic_load_explicit(&learnt[index], memory_order_relaxed);
        uint64_t next = old ? old * (256 + ratio) / 512 : HAS_ESTIMATE_FIRST_NS * ratio / 256;
        next = next < SHORTEST_NS ? SHORTEST_NS : next > LONGEST_NS ? LONGEST_NS : next;
        atomic_store_explicit(&learnt[index], (unsigned)next, memory_order_relaxed);
    }
}
