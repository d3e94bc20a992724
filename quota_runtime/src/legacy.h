/* The rules of the legacy default stream, kept while its work or that of the streams ordered
 * against it goes to streams of ours, which know no such rules. */
#ifndef HAS_LEGACY_H
#define HAS_LEGACY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "lane.h"
#include "sm.h"

extern atomic_bool has_legacy_on;

/* From now on lanes are ordered here; the driver's own order is only a part of it. */
static inline void has_legacy_watch(void)
{
    atomic_store_explicit(&has_legacy_on, true, memory_order_release);
}

static inline bool has_legacy_watched(void)
{
    return atomic_load_explicit(&has_legacy_on, memory_order_acquire);
}

/* Before a call on a lane: the legacy stream comes after all blocking streams and they after it. */
void has_legacy_join(struct has_lane *lane);

#endif
