#include "partition.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "lane.h"
#include "real.h"
#include "state.h"

#define COARSE 8u /* a finer step gives up co-scheduling, and large clusters with it */

enum state { FREE, AHEAD, USED };

/* Groups and state are read without the lock: what is AHEAD may make room for another. */
struct partition {
    atomic_int state;
    _Atomic(uint64_t) word[2];
    atomic_uint group_size;
    uint32_t sms;
    CUgreenCtx green;
    CUcontext context;
};

static struct partition partitions[HAS_PARTITIONS];
atomic_uint has_device_sms_known;
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

/* The split of the device: computed once per group size, the same in every process. */
static struct {
    unsigned group_size, count;
    CUdevResource group[HAS_GROUPS_MAX];
    CUdevResource rest;
    bool rest_joins_last;
} split;

static bool device(CUdevice *found)
{
    int count = 0;
    /* With several devices a stream does not say which one it is on: then time only. */
    return has_real_found() && has_use.cuDeviceGetCount && has_use.cuDeviceGet &&
           has_use.cuDeviceGetCount(&count) == CUDA_SUCCESS && count == 1 &&
           has_use.cuDeviceGet(found, 0) == CUDA_SUCCESS;
}

uint32_t has_device_sms_slow(void)
{
    CUdevice first;
    int count = 0;
    if (!has_real_found() || !has_use.cuDeviceGet || !has_use.cuDeviceGetAttribute ||
        has_use.cuDeviceGet(&first, 0) != CUDA_SUCCESS ||
        has_use.cuDeviceGetAttribute(&count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, first) !=
            CUDA_SUCCESS ||
        count <= 0)
        return 0;
    atomic_store_explicit(&has_device_sms_known, (uint32_t)count, memory_order_relaxed);
    return (uint32_t)count;
}

static bool is_all(struct has_groups groups, unsigned group_size)
{
    struct has_groups all = has_groups_first(has_group_count(has_device_sms(), group_size));
    return has_groups_within(all, groups);
}

static struct has_groups groups_of(const struct partition *partition)
{
    return (struct has_groups){{atomic_load(&partition->word[0]), atomic_load(&partition->word[1])}};
}

static bool is_of(const struct partition *partition, struct has_groups groups, unsigned group_size)
{
    return has_groups_equal(groups_of(partition), groups) &&
           atomic_load(&partition->group_size) == group_size;
}

int has_partition_there(struct has_groups groups, unsigned group_size)
{
    if (is_all(groups, group_size))
        return HAS_WHOLE;
    for (int i = 0; i < HAS_PARTITIONS; i++)
        if (atomic_load(&partitions[i].state) != FREE && is_of(&partitions[i], groups, group_size))
            return i;
    return HAS_NOWHERE;
}

int has_partition_use(struct has_groups groups, unsigned group_size)
{
    int index = has_partition_there(groups, group_size), ahead = AHEAD;
    if (index < 0)
        return index;
    struct partition *found = &partitions[index];
    if (!atomic_compare_exchange_strong(&found->state, &ahead, USED) && ahead != USED)
        return HAS_NOWHERE;
    /* It may have made room for another one since. */
    return is_of(found, groups, group_size) ? index : HAS_NOWHERE;
}

static bool split_anew(CUdevice which, unsigned group_size)
{
    CUdevResource whole;
    unsigned count = HAS_GROUPS_MAX, expected = has_group_count(has_device_sms(), group_size);
    unsigned flags =
        group_size < COARSE ? CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING : 0;
    memset(&whole, 0, sizeof(whole));
    memset(&split, 0, sizeof(split));
    split.group_size = group_size;
    if (has_use.cuDeviceGetDevResource(which, &whole, CU_DEV_RESOURCE_TYPE_SM) != CUDA_SUCCESS ||
        has_use.cuDevSmResourceSplitByCount(split.group, &count, &whole, &split.rest, flags,
                                            group_size) != CUDA_SUCCESS)
        return false;
    bool has_rest = split.rest.type == CU_DEV_RESOURCE_TYPE_SM && split.rest.sm.smCount;
    if (has_rest && count + 1 == expected)
        split.group[count++] = split.rest;
    else if (has_rest && count == expected)
        split.rest_joins_last = true;
    /* Another number of groups: a bitmap would not mean here what it means to the agent. */
    split.count = count == expected ? count : 0;
    return split.count > 0;
}

static bool split_device(CUdevice which, unsigned group_size)
{
    if (split.group_size == group_size)
        return split.count > 0;
    uint64_t began = has_now_ns();
    bool done = split_anew(which, group_size);
    HAS_COUNT(make_split_ns, has_now_ns() - began);
    return done;
}

static bool make_green(CUdevice which, struct has_groups groups, struct partition *partition)
{
    CUdevResource chosen[HAS_GROUPS_MAX + 1];
    CUdevResourceDesc description;
    unsigned count = 0;
    for (unsigned i = 0; i < split.count; i++) {
        if (!has_groups_test(groups, i))
            continue;
        partition->sms += split.group[i].sm.smCount;
        chosen[count++] = split.group[i];
        if (i == split.count - 1 && split.rest_joins_last) {
            partition->sms += split.rest.sm.smCount;
            chosen[count++] = split.rest;
        }
    }
    return count &&
           has_use.cuDevResourceGenerateDesc(&description, chosen, count) == CUDA_SUCCESS &&
           has_use.cuGreenCtxCreate(&partition->green, description, which,
                                    CU_GREEN_CTX_DEFAULT_STREAM) == CUDA_SUCCESS;
}

/* --- with the lock ------------------------------------------------------------------------- */

static bool fill(struct partition *fresh, CUdevice which, struct has_groups groups)
{
    uint64_t began = has_now_ns();
    fresh->sms = 0;
    bool made = make_green(which, groups, fresh);
    if (!made || !has_use.cuCtxFromGreenCtx ||
        has_use.cuCtxFromGreenCtx(&fresh->context, fresh->green) != CUDA_SUCCESS)
        fresh->context = NULL;
    HAS_COUNT(make_context_ns, has_now_ns() - began);
    return made;
}

static int free_place(void)
{
    for (int i = 0; i < HAS_PARTITIONS; i++)
        if (atomic_load(&partitions[i].state) == FREE)
            return i;
    return HAS_NOWHERE;
}

static bool is_among(const struct partition *partition, unsigned group_size,
                     const struct has_groups *next)
{
    for (unsigned i = 0; next && i < HAS_NEXT; i++)
        if (is_of(partition, next[i], group_size))
            return true;
    return false;
}

/* Lets a partition go that nobody used and that is not among `next`; its place, if there is one. */
static int make_room(unsigned group_size, const struct has_groups *next)
{
    for (int i = 0; i < HAS_PARTITIONS; i++) {
        int ahead = AHEAD;
        if (is_among(&partitions[i], group_size, next) ||
            !atomic_compare_exchange_strong(&partitions[i].state, &ahead, FREE))
            continue;
        has_lane_leave_partition(i);
        if (has_use.cuGreenCtxDestroy)
            has_use.cuGreenCtxDestroy(partitions[i].green);
        return i;
    }
    return HAS_NOWHERE;
}

static int make_in(int index, struct has_groups groups, unsigned group_size, enum state state)
{
    CUdevice which;
    if (index < 0 || !device(&which) || !split_device(which, group_size) ||
        !fill(&partitions[index], which, groups))
        return HAS_NOWHERE;
    atomic_store(&partitions[index].word[0], groups.word[0]);
    atomic_store(&partitions[index].word[1], groups.word[1]);
    atomic_store(&partitions[index].group_size, group_size);
    atomic_store(&partitions[index].state, state);
    HAS_COUNT(partitions, 1);
    return index;
}

static bool driver_can(void)
{
    return has_use.cuDeviceGetDevResource && has_use.cuDevSmResourceSplitByCount &&
           has_use.cuDevResourceGenerateDesc && has_use.cuGreenCtxCreate &&
           has_use.cuGreenCtxStreamCreate;
}

int has_partition_make_ahead(struct has_groups groups, unsigned group_size,
                             const struct has_groups *next)
{
    int found = has_partition_there(groups, group_size), ahead = 0;
    if (found != HAS_NOWHERE || !driver_can())
        return found;
    for (int i = 0; i < HAS_PARTITIONS; i++)
        ahead += atomic_load(&partitions[i].state) == AHEAD;
    int place = ahead < (int)HAS_NEXT ? free_place() : HAS_NOWHERE;
    if (place < 0)
        place = make_room(group_size, next);
    found = make_in(place, groups, group_size, AHEAD);
    if (found >= 0)
        HAS_COUNT(partitions_ahead, 1);
    return found;
}

int has_partition_make(struct has_groups groups, unsigned group_size)
{
    int found = has_partition_use(groups, group_size);
    if (found != HAS_NOWHERE || !driver_can())
        return found;
    has_partition_lock();
    found = has_partition_use(groups, group_size);
    if (found == HAS_NOWHERE) {
        int place = free_place();
        found = make_in(place < 0 ? make_room(group_size, NULL) : place, groups, group_size, USED);
    }
    has_partition_unlock();
    return found;
}

void has_partition_lock(void)
{
    pthread_mutex_lock(&making);
}

void has_partition_unlock(void)
{
    pthread_mutex_unlock(&making);
}

/* --- what is made -------------------------------------------------------------------------- */

uint32_t has_partition_sms(int partition)
{
    return partition >= 0 ? partitions[partition].sms : has_device_sms();
}

struct has_groups has_partition_groups(int partition, unsigned group_size)
{
    return partition >= 0 ? groups_of(&partitions[partition])
                          : has_groups_first(has_group_count(has_device_sms(), group_size));
}

bool has_partition_within(int inner, int outer)
{
    if (outer == HAS_WHOLE || inner == outer)
        return true;
    return inner >= 0 && outer >= 0 &&
           has_groups_within(groups_of(&partitions[inner]), groups_of(&partitions[outer]));
}

CUcontext has_partition_context(int partition)
{
    return partitions[partition].context;
}

int has_partition_of(CUcontext context)
{
    for (int i = 0; context && i < HAS_PARTITIONS; i++)
        if (atomic_load(&partitions[i].state) == USED && partitions[i].context == context)
            return i;
    return HAS_NOWHERE;
}

CUstream has_partition_stream(int partition, int priority)
{
    CUstream stream = NULL;
    CUresult result = has_use.cuGreenCtxStreamCreate(&stream, partitions[partition].green,
                                                     CU_STREAM_NON_BLOCKING, priority);
    return result == CUDA_SUCCESS ? stream : NULL;
}

void has_partition_after_fork(void)
{
    pthread_mutex_init(&making, NULL);
    for (int i = 0; i < HAS_PARTITIONS; i++)
        atomic_store(&partitions[i].state, FREE);
    split.group_size = 0;
}
