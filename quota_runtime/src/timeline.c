#include "timeline.h"

#include <stdbool.h>
#include <stddef.h>

#include "real.h"

#define POOL 256u
#define REBASE_MS 1000.0f /* milliseconds come as float: beyond this they lose microseconds */

static CUevent pool[POOL];
static unsigned pooled;
static CUevent reference;    /* an event whose time on our axis is known */
static int64_t reference_ns;
static int64_t covered_ns;   /* everything before this is charged already */

CUevent has_timeline_event(void)
{
    CUevent event = NULL;
    if (pooled)
        return pool[--pooled];
    return has_use.cuEventCreate(&event, CU_EVENT_DEFAULT) == CUDA_SUCCESS ? event : NULL;
}

void has_timeline_recycle(CUevent event)
{
    if (event && event != reference && pooled < POOL)
        pool[pooled++] = event;
}

/* A pool that is full lets events go to waste; 256 are more than the rings of eight lanes. */
static void rebase(CUevent event, int64_t ns)
{
    CUevent old = reference;
    reference = event;
    reference_ns = ns;
    has_timeline_recycle(old);
}

static bool time_of(CUevent event, int64_t *ns)
{
    float ms;
    if (!reference)
        rebase(event, covered_ns);
    if (event == reference) {
        *ns = reference_ns;
        return true;
    }
    if (has_use.cuEventElapsedTime(&ms, reference, event) != CUDA_SUCCESS) {
        /* Another context, or the reference was lost with its own: start the axis anew. */
        reference = NULL;
        return false;
    }
    *ns = reference_ns + (int64_t)((double)ms * 1e6);
    if (ms > REBASE_MS)
        rebase(event, *ns);
    return true;
}

int64_t has_timeline_busy(CUevent begin, CUevent end, int64_t *end_ns)
{
    int64_t from = *end_ns, to;
    if (begin && !time_of(begin, &from))
        return -1;
    if (!time_of(end, &to))
        return -1;
    *end_ns = to;
    if (from < covered_ns)
        from = covered_ns;
    if (to <= from)
        return 0;
    covered_ns = to;
    return to - from;
}

void has_timeline_after_fork(void)
{
    pooled = 0;
    reference = NULL;
}
