/* Bitmaps of split groups: 128 bits in two words, group 0 = bit 0 of word 0. Pure. */
#ifndef HAS_BITMAP_H
#define HAS_BITMAP_H

#include <stdbool.h>
#include <stdint.h>

#define HAS_GROUPS_MAX 128u

struct has_groups {
    uint64_t word[2];
};

static inline bool has_groups_any(struct has_groups groups)
{
    return groups.word[0] || groups.word[1];
}

static inline bool has_groups_equal(struct has_groups a, struct has_groups b)
{
    return a.word[0] == b.word[0] && a.word[1] == b.word[1];
}

static inline bool has_groups_within(struct has_groups inner, struct has_groups outer)
{
    return !(inner.word[0] & ~outer.word[0]) && !(inner.word[1] & ~outer.word[1]);
}

static inline bool has_groups_test(struct has_groups groups, unsigned index)
{
    return index < HAS_GROUPS_MAX && groups.word[index / 64] >> index % 64 & 1;
}

static inline unsigned has_groups_count(struct has_groups groups)
{
    return (unsigned)(__builtin_popcountll(groups.word[0]) +
                      __builtin_popcountll(groups.word[1]));
}

static inline struct has_groups has_groups_first(unsigned count)
{
    struct has_groups groups = {{0, 0}};
    for (unsigned word = 0; word < 2; word++) {
        unsigned here = count > 64 * word ? count - 64 * word : 0;
        groups.word[word] = here >= 64 ? ~0ull : (1ull << here) - 1;
    }
    return groups;
}

static inline struct has_groups has_groups_and(struct has_groups a, struct has_groups b)
{
    return (struct has_groups){{a.word[0] & b.word[0], a.word[1] & b.word[1]}};
}

/* Groups that a GPU splits into: whole groups, the last of which takes the rest. */
static inline unsigned has_group_count(unsigned sm_count, unsigned group_size)
{
    unsigned count = group_size ? sm_count / group_size : 0;
    return count > HAS_GROUPS_MAX ? HAS_GROUPS_MAX : count;
}

/* SMs of a bitmap on a GPU of `sm_count` SMs. */
static inline unsigned has_groups_sms(struct has_groups groups, unsigned sm_count,
                                      unsigned group_size)
{
    unsigned count = has_group_count(sm_count, group_size);
    groups = has_groups_and(groups, has_groups_first(count));
    unsigned sms = has_groups_count(groups) * group_size;
    if (count && has_groups_test(groups, count - 1))
        sms += sm_count - count * group_size;
    return sms;
}

#endif
