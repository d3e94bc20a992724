#include "lease_words.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lease_rules.h"

static uint64_t bit_of(uint32_t slot)
{
    return 1ull << slot;
}

uint64_t has_words_running(struct has_leases *file)
{
    return __atomic_load_n(&file->running, __ATOMIC_SEQ_CST);
}

static void wake(struct has_leases *file)
{
    __atomic_fetch_add(&file->wake, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &file->wake, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static bool silent(const int64_t *at_ns, uint64_t now, uint64_t window_ns)
{
    return (int64_t)now - __atomic_load_n(at_ns, __ATOMIC_RELAXED) >
           has_lease_stale_after(window_ns);
}

/* The bits of `among` whose time in `at_ns` is too old; a time lies at the same place of each slot. */
static uint64_t silent_ones(struct has_leases *file, uint64_t among, size_t at,
                            const struct has_view *view, uint64_t now)
{
    uint64_t found = 0;
    for (; among; among &= among - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(among);
        const char *line = (const char *)&file->slots[slot];
        if (silent((const int64_t *)(const void *)(line + at), now, view->window_ns))
            found |= bit_of(slot);
    }
    return found;
}

uint64_t has_words_waiting(struct has_leases *file, const struct has_view *view, uint64_t now)
{
    uint64_t wait = __atomic_load_n(&file->waiting, __ATOMIC_SEQ_CST) & view->conflicts;
    uint64_t gone = silent_ones(file, wait, offsetof(struct has_lease_slot, waits_at_ns), view, now);
    if (gone)
        __atomic_fetch_and(&file->waiting, ~gone, __ATOMIC_SEQ_CST);
    return wait & ~gone;
}

void has_words_spends(struct has_leases *file, const struct has_view *view, uint64_t now)
{
    __atomic_store_n(&file->slots[view->lease_slot].spends_at_ns, (int64_t)now, __ATOMIC_RELAXED);
}

bool has_words_all_may_wait(struct has_leases *file, uint64_t waiting, const struct has_view *view,
                            uint64_t now)
{
    size_t at = offsetof(struct has_lease_slot, spends_at_ns);
    if (!waiting || silent_ones(file, waiting, at, view, now))
        return false;
    for (; waiting; waiting &= waiting - 1) {
        unsigned slot = (unsigned)__builtin_ctzll(waiting);
        if (!has_lease_alike(view->mine, view->conflicts, bit_of(slot),
                             __atomic_load_n(&file->slots[slot].conflicts, __ATOMIC_RELAXED)))
            return false;
    }
    return true;
}

void has_words_clear(struct has_leases *file, uint64_t bits)
{
    has_words_announce_no_more(file, bits);
    __atomic_fetch_and(&file->running, ~bits, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&file->waiting, __ATOMIC_SEQ_CST) & ~bits)
        wake(file);
}

void has_words_step_over(struct has_leases *file, const struct has_view *view, uint64_t now)
{
    uint64_t others = has_words_running(file) & view->conflicts;
    uint64_t gone =
        silent_ones(file, others, offsetof(struct has_lease_slot, renewed_at_ns), view, now);
    if (gone)
        has_words_clear(file, gone);
}

bool has_words_take(struct has_leases *file, const struct has_view *view, uint64_t now)
{
    struct has_lease_slot *own = &file->slots[view->lease_slot];
    uint64_t old = has_words_running(file);
    if (!(old & view->mine))
        __atomic_store_n(&own->renewed_at_ns, (int64_t)now, __ATOMIC_SEQ_CST);
    do {
        if (old & view->conflicts)
            return false;
        if (old & view->mine)
            return true; /* another process of the pod has set it */
    } while (!__atomic_compare_exchange_n(&file->running, &old, old | view->mine, false,
                                          __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    __atomic_store_n(&own->since_ns, (int64_t)now, __ATOMIC_RELAXED);
    return true;
}

static bool comes_first(struct has_leases *file, unsigned other, struct has_lease_claim mine,
                        const struct has_view *view, uint64_t now)
{
    const struct has_lease_slot *slot = &file->slots[other];
    bool could_run =
        !(has_words_running(file) & __atomic_load_n(&slot->conflicts, __ATOMIC_RELAXED));
    struct has_lease_claim theirs = {__atomic_load_n(&slot->waits_since_ns, __ATOMIC_RELAXED),
                                     __atomic_load_n(&slot->urgent_at_ns, __ATOMIC_RELAXED)};
    return has_lease_comes_first(theirs, mine, could_run, (int64_t)now, (int64_t)view->window_ns);
}

bool has_words_queued(struct has_leases *file, const struct has_view *view, int64_t urgent_at_ns,
                      uint64_t now)
{
    const struct has_lease_slot *own = &file->slots[view->lease_slot];
    bool waits = __atomic_load_n(&file->waiting, __ATOMIC_RELAXED) & view->mine;
    struct has_lease_claim mine = {
        waits ? __atomic_load_n(&own->waits_since_ns, __ATOMIC_RELAXED) : 0, urgent_at_ns};
    for (uint64_t left = has_words_waiting(file, view, now); left; left &= left - 1)
        if (comes_first(file, (unsigned)__builtin_ctzll(left), mine, view, now))
            return true;
    return false;
}

void has_words_wait_no_more(struct has_leases *file, uint64_t bits)
{
    if (__atomic_load_n(&file->waiting, __ATOMIC_RELAXED) & bits)
        __atomic_fetch_and(&file->waiting, ~bits, __ATOMIC_SEQ_CST);
}

void has_words_announce(struct has_leases *file, const struct has_view *view)
{
    if (__atomic_load_n(&file->leaving, __ATOMIC_RELAXED) & view->mine ||
        !(__atomic_load_n(&file->waiting, __ATOMIC_SEQ_CST) & view->conflicts))
        return;
    __atomic_fetch_or(&file->leaving, view->mine, __ATOMIC_SEQ_CST);
    wake(file);
}

void has_words_announce_no_more(struct has_leases *file, uint64_t bits)
{
    if (__atomic_load_n(&file->leaving, __ATOMIC_RELAXED) & bits)
        __atomic_fetch_and(&file->leaving, ~bits, __ATOMIC_SEQ_CST);
}

void has_words_wait(struct has_leases *file, const struct has_view *view, int64_t urgent_at_ns,
                    uint64_t now)
{
    struct has_lease_slot *own = &file->slots[view->lease_slot];
    __atomic_store_n(&own->waits_at_ns, (int64_t)now, __ATOMIC_RELAXED);
    __atomic_store_n(&own->urgent_at_ns, urgent_at_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&own->conflicts, view->conflicts, __ATOMIC_RELAXED);
    if (__atomic_load_n(&file->waiting, __ATOMIC_RELAXED) & view->mine)
        return;
    __atomic_store_n(&own->waits_since_ns, (int64_t)now, __ATOMIC_RELAXED);
    __atomic_fetch_or(&file->waiting, view->mine, __ATOMIC_SEQ_CST);
}

void has_words_sleep(struct has_leases *file, uint32_t seen, uint64_t ns)
{
    struct timespec wait = {0, (long)ns};
    syscall(SYS_futex, &file->wake, FUTEX_WAIT, seen, &wait, NULL, 0);
}

