/* Which streams are being captured into a graph: nothing of ours may touch those. */
#ifndef HAS_CAPTURE_H
#define HAS_CAPTURE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "has_cuda.h"

extern atomic_int has_captures; /* captures begun and not ended in this process */

static inline bool has_capture_any(void)
{
    return atomic_load_explicit(&has_captures, memory_order_acquire) > 0;
}

/* Whether one stream captures; asks the driver, since a capture spreads through events. */
bool has_capture_on(CUstream stream, bool per_thread);

/* Lets this thread call the driver freely while another thread captures; returns what to put
 * back. */
CUstreamCaptureMode has_capture_relax(void);
void has_capture_restore(CUstreamCaptureMode mode);

#endif
