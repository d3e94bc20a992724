/* SM partitions: green contexts made from the one split of the device. One that work was ever meant
 * to go to stays; one made ahead of that may make room for another. */
#ifndef HAS_PARTITION_H
#define HAS_PARTITION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bitmap.h"
#include "has_cuda.h"

#define HAS_PARTITIONS 32
#define HAS_WHOLE (-1)   /* every SM: the program's own streams */
#define HAS_NOWHERE (-2) /* no partition */

/* SMs of the device, 0 while unknown. Cheap once known. */
extern atomic_uint has_device_sms_known;
uint32_t has_device_sms_slow(void);

static inline uint32_t has_device_sms(void)
{
    uint32_t known = atomic_load_explicit(&has_device_sms_known, memory_order_relaxed);
    return __builtin_expect(known != 0, 1) ? known : has_device_sms_slow();
}

/* Index of the partition of these groups, from now on in use; HAS_WHOLE when they are all groups,
 * HAS_NOWHERE when it has not been made. Never calls the driver. */
int has_partition_use(struct has_groups groups, unsigned group_size);

/* Makes a partition that use() does not know; HAS_NOWHERE when this device or driver cannot.
 * Milliseconds: for a thread of the library. */
int has_partition_make(struct has_groups groups, unsigned group_size);

/* The same for a partition that is not in use yet: its index, whether made now or before. `next` are
 * those that are wanted as well; others that nobody used make room. With the lock. */
int has_partition_make_ahead(struct has_groups groups, unsigned group_size,
                             const struct has_groups *next);

/* As use(), but it is not in use for that. */
int has_partition_there(struct has_groups groups, unsigned group_size);

/* While it is held no partition is made or goes. */
void has_partition_lock(void);
void has_partition_unlock(void);

uint32_t has_partition_sms(int partition);
struct has_groups has_partition_groups(int partition, unsigned group_size);

/* Whether all SMs of one partition are SMs of the other. */
bool has_partition_within(int inner, int outer);

/* The context that work on a partition in use runs in; NULL where the driver cannot say. And back;
 * HAS_NOWHERE when it is no partition's. */
CUcontext has_partition_context(int partition);
int has_partition_of(CUcontext context);

/* A new stream on a partition, NULL when it cannot be had. */
CUstream has_partition_stream(int partition, int priority);

void has_partition_after_fork(void);

#endif
