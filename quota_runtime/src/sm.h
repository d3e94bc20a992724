/* The SM engine: where the work of each stream goes. */
#ifndef HAS_SM_H
#define HAS_SM_H

#include "lane.h"
#include "state.h"

/* The stream that work for a lane goes to now; moves the lane first when the partition changed. */
CUstream has_sm_place(struct has_lane *lane, CUstream stream, const struct has_view *view);

/* The same without moving anything. */
static inline CUstream has_sm_stay(struct has_lane *lane, CUstream stream)
{
    CUstream physical = atomic_load_explicit(&lane->physical, memory_order_acquire);
    return physical ? physical : stream;
}

/* A stream on the pod's largest partition for a launch that does not fit, ordered after the lane;
 * false when there is none larger. `has_sm_back` orders the lane after that launch. */
bool has_sm_widest(struct has_lane *lane, CUstream stream, CUstream *wide);
void has_sm_back(struct has_lane *lane, CUstream wide);

/* The program destroys a stream. */
void has_sm_forget(CUstream stream);

/* The program waits for the whole context; only then may the host wait for our streams. */
CUresult has_sm_wait_all(void);

/* Around a call that the driver itself puts on the default stream. */
void has_sm_before_default(struct has_lane *lane);
void has_sm_after_default(struct has_lane *lane);

#endif
