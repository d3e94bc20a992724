/* The memory limit of the pod: reserve, allocate, then keep or give back. */
#ifndef HAS_MEMORY_H
#define HAS_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Takes bytes from what the pod may still have; false: over the limit, nothing taken. */
bool has_memory_reserve(uint64_t bytes);
void has_memory_give_back(uint64_t bytes);

/* Bytes all processes of the pod hold, and the limit (UINT64_MAX: none). */
uint64_t has_memory_used(void);
uint64_t has_memory_limit(void);

/* Everything was freed at once, with the context. */
void has_memory_lost(void);

#endif
