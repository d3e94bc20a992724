#include "memory.h"

#include "ledger.h"
#include "state.h"

uint64_t has_memory_limit(void)
{
    const struct has_view *view = has_limits_now();
    return view && view->flags & HAS_FLAG_MEMORY ? view->memory_limit_bytes : UINT64_MAX;
}

uint64_t has_memory_used(void)
{
    return __atomic_load_n(&has_usage()->memory_bytes, __ATOMIC_RELAXED);
}

static void note_peak(struct has_usage_slot *slot, uint64_t now)
{
    uint64_t peak = __atomic_load_n(&slot->memory_peak_bytes, __ATOMIC_RELAXED);
    while (now > peak &&
           !__atomic_compare_exchange_n(&slot->memory_peak_bytes, &peak, now, false,
                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
}

bool has_memory_reserve(uint64_t bytes)
{
    uint64_t *total = &has_usage()->memory_bytes, limit = has_memory_limit();
    uint64_t old = __atomic_load_n(total, __ATOMIC_RELAXED), next;
    do {
        if (__builtin_add_overflow(old, bytes, &next) || next > limit) {
            HAS_COUNT(memory_refused, 1);
            return false;
        }
    } while (!__atomic_compare_exchange_n(total, &old, next, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    struct has_usage_slot *slot = has_slot();
    note_peak(slot, __atomic_add_fetch(&slot->memory_bytes, bytes, __ATOMIC_RELAXED));
    return true;
}

void has_memory_give_back(uint64_t bytes)
{
    if (!bytes)
        return;
    __atomic_fetch_sub(&has_slot()->memory_bytes, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&has_usage()->memory_bytes, bytes, __ATOMIC_RELAXED);
}

void has_memory_lost(void)
{
    has_ledger_clear();
    has_memory_give_back(__atomic_load_n(&has_slot()->memory_bytes, __ATOMIC_RELAXED));
}
