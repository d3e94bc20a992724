/* What the process has allocated: a table from a handle to bytes. Pure but for its own lock. */
#ifndef HAS_LEDGER_H
#define HAS_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

enum has_ledger_kind {
    HAS_LEDGER_POINTER = 1,
    HAS_LEDGER_ARRAY = 2,
    HAS_LEDGER_PHYSICAL = 3, /* counted: handles and mappings */
    HAS_LEDGER_GRAPH = 4,    /* SMs instead of bytes */
};

/* Notes `bytes` under a handle; keeps nothing when memory for the table runs out. */
void has_ledger_add(enum has_ledger_kind kind, uint64_t handle, uint64_t bytes);

/* Forgets a handle and returns its bytes, 0 when unknown. */
uint64_t has_ledger_remove(enum has_ledger_kind kind, uint64_t handle);

/* The bytes of a handle, 0 when unknown. */
uint64_t has_ledger_get(enum has_ledger_kind kind, uint64_t handle);

/* One more holder of a counted handle. */
void has_ledger_retain(enum has_ledger_kind kind, uint64_t handle);

/* One holder less; the bytes when it was the last one, else 0. */
uint64_t has_ledger_release(enum has_ledger_kind kind, uint64_t handle);

/* Notes that an address range shows a physical handle. */
void has_ledger_map(uint64_t address, uint64_t bytes, uint64_t physical);

/* Forgets one mapping that starts inside a range and says which handle it showed; false: none. */
bool has_ledger_unmap(uint64_t address, uint64_t bytes, uint64_t *physical);

/* Forgets everything and returns nothing: the memory is gone with its context. */
void has_ledger_clear(void);

/* After fork: the child owns none of it, and the lock may have been held. */
void has_ledger_reset(void);

#endif
