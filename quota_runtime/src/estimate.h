/* How long launches take: one learnt figure per kind of launch, corrected by every batch. */
#ifndef HAS_ESTIMATE_H
#define HAS_ESTIMATE_H

#include <stdint.h>

#define HAS_ESTIMATES 4096u
#define HAS_ESTIMATE_FIRST_NS 20000u

/* Place in the table of a function and its number of blocks. */
static inline uint16_t has_estimate_key(const void *function, uint64_t blocks)
{
    uint64_t mixed = ((uint64_t)(uintptr_t)function ^ blocks << 40 ^ blocks) * 0x9e3779b97f4a7c15u;
    return (uint16_t)(mixed >> 52);
}

/* Nanoseconds a launch is expected to take. */
uint32_t has_estimate_of(uint16_t key);

/* Corrects the estimates of one batch of launches that together took `actual_ns`. */
void has_estimate_learn(const uint16_t *keys, uint32_t count, uint64_t actual_ns);

#endif
