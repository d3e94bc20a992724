#include "limits_block.h"

#include <stdbool.h>
#include <string.h>

#define ATTEMPTS 100

enum has_block_state has_block_check(const struct has_limits *copy)
{
    if (copy->magic != HAS_LIMITS_MAGIC || copy->abi_version != HAS_ABI_VERSION ||
        copy->size != HAS_LIMITS_SIZE)
        return HAS_BLOCK_FOREIGN;
    const uint64_t *groups = copy->sm_groups, *most = copy->max_sm_groups;
    bool no_groups = !groups[0] && !groups[1];
    bool outside = (most[0] || most[1]) && ((groups[0] & ~most[0]) || (groups[1] & ~most[1]));
    bool named = copy->gpu_uuid[0] && memchr(copy->gpu_uuid, '\0', sizeof(copy->gpu_uuid));
    uint64_t mine = copy->lease_slot < HAS_LEASE_SLOTS ? 1ull << copy->lease_slot : 0;
    bool no_lease = !mine || copy->lease_conflicts & (mine | 1) ||
                    (copy->lease_slot && (copy->lease_slice_ns < 100000 ||
                                          copy->lease_slice_ns > 1000000000ull));
    if (no_lease || copy->quota_permille < 1 || copy->quota_permille > 1000 || no_groups || outside ||
        copy->sm_group_size < 1 || copy->sm_group_size > 1024 || copy->window_ns < 1000000 ||
        copy->window_ns > 10000000000ull || !named)
        return HAS_BLOCK_BAD;
    return HAS_BLOCK_GOOD;
}

/* Word by word through atomics: the writer is another process, and no tool sees a race. */
static void copy_words(const struct has_limits *block, struct has_limits *copy)
{
    const uint32_t *from = (const uint32_t *)block;
    uint32_t *to = (uint32_t *)copy;
    for (size_t i = 0; i < sizeof(*copy) / sizeof(*to); i++)
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

enum has_block_state has_block_read(const struct has_limits *block, struct has_limits *copy)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        uint32_t before = __atomic_load_n(&block->seq, __ATOMIC_ACQUIRE);
        if (before & 1)
            continue;
        copy_words(block, copy);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (__atomic_load_n(&block->seq, __ATOMIC_RELAXED) != before)
            continue;
        copy->seq = before;
        return has_block_check(copy);
    }
    return HAS_BLOCK_TORN;
}
