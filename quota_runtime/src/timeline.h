/* One time axis for the events of all streams, and the pool they come from.
 * Every function needs the meter's claim. */
#ifndef HAS_TIMELINE_H
#define HAS_TIMELINE_H

#include <stdint.h>

#include "has_cuda.h"

/* A timing event, NULL when none can be had. */
CUevent has_timeline_event(void);
void has_timeline_recycle(CUevent event);

/* GPU time between two finished events that no other stream was charged for; -1 when it cannot
 * be told. `begin` may be NULL: then it began at *end_ns, which becomes the end. */
int64_t has_timeline_busy(CUevent begin, CUevent end, int64_t *end_ns);

void has_timeline_after_fork(void);

#endif
