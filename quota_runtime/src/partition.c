#include "partition.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "real.h"

#define NONE (-2)
#define COARSE 8u /* a finer step gives up co-scheduling, and large clusters with it */

struct partition {
    struct has_groups groups;
    unsigned group_size;
    uint32_t sms;
    CUgreenCtx green;
    CUcontext context;
};

static struct partition partitions[HAS_PARTITIONS];
static atomic_int made;
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

int has_partition_find(struct has_groups groups, unsigned group_size)
{
    if (is_all(groups, group_size))
        return HAS_WHOLE;
    int count = atomic_load_explicit(&made, memory_order_acquire);
    for (int i = 0; i < count; i++)
        if (partitions[i].group_size == group_size &&
            has_groups_equal(partitions[i].groups, groups))
            return i;
    return NONE;
}

static bool split_device(CUdevice which, unsigned group_size)
{
    CUdevResource whole;
    unsigned count = HAS_GROUPS_MAX, expected = has_group_count(has_device_sms(), group_size);
    unsigned flags =
        group_size < COARSE ? CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING : 0;
    if (split.group_size == group_size)
        return split.count > 0;
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

static bool make_green(CUdevice which, struct partition *partition)
{
    CUdevResource chosen[HAS_GROUPS_MAX + 1];
    CUdevResourceDesc description;
    unsigned count = 0;
    for (unsigned i = 0; i < split.count; i++) {
        if (!has_groups_test(partition->groups, i))
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

static int make(struct has_groups groups, unsigned group_size)
{
    int index = atomic_load(&made);
    CUdevice which;
    if (index >= HAS_PARTITIONS || !device(&which) || !split_device(which, group_size))
        return NONE;
    struct partition *fresh = &partitions[index];
    *fresh = (struct partition){.groups = groups, .group_size = group_size};
    if (!make_green(which, fresh))
        return NONE;
    if (!has_use.cuCtxFromGreenCtx ||
        has_use.cuCtxFromGreenCtx(&fresh->context, fresh->green) != CUDA_SUCCESS)
        fresh->context = NULL;
    atomic_store_explicit(&made, index + 1, memory_order_release);
    return index;
}

int has_partition_make(struct has_groups groups, unsigned group_size)
{
    if (!has_use.cuDeviceGetDevResource || !has_use.cuDevSmResourceSplitByCount ||
        !has_use.cuDevResourceGenerateDesc || !has_use.cuGreenCtxCreate ||
        !has_use.cuGreenCtxStreamCreate)
        return NONE;
    pthread_mutex_lock(&making);
    int found = has_partition_find(groups, group_size);
    if (found == NONE)
        found = make(groups, group_size);
    pthread_mutex_unlock(&making);
    return found;
}

uint32_t has_partition_sms(int partition)
{
    return partition >= 0 ? partitions[partition].sms : has_device_sms();
}

struct has_groups has_partition_groups(int partition, unsigned group_size)
{
    return partition >= 0 ? partitions[partition].groups
                          : has_groups_first(has_group_count(has_device_sms(), group_size));
}

CUcontext has_partition_context(int partition)
{
    return partitions[partition].context;
}

int has_partition_of(CUcontext context)
{
    int count = atomic_load_explicit(&made, memory_order_acquire);
    for (int i = 0; context && i < count; i++)
        if (partitions[i].context == context)
            return i;
    return NONE;
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
    atomic_store(&made, 0);
    split.group_size = 0;
}
