/* The SM engine: where the work of each stream goes.
 *
 * Every stream of the program is a lane. While the pod may use the whole GPU its work goes to the
 * stream itself; on a smaller partition it goes to a stream of that partition's green context. A
 * lane moves when its next call comes: an event on the old stream, a wait on the new one, and the
 * host waits for neither.
 */
#ifndef HAS_SM_H
#define HAS_SM_H

#include "lane.h"
#include "state.h"

/* Takes the lane for one call and says which stream the call goes to; moves the lane first when
 * the partition changed and nobody else is inside. */
CUstream has_sm_enter(struct has_lane *lane, CUstream stream);

/* As enter for a stream that captures or is about to: moves nothing, orders nothing. */
CUstream has_sm_stay(struct has_lane *lane, CUstream stream);
void has_sm_leave(struct has_lane *lane);

/* The driver's stream that a lane is on. */
CUstream has_sm_stream(struct has_lane *lane);

/* SMs that work on a lane uses now, and those it is meant to use. */
uint32_t has_sm_of(const struct has_lane *lane);
uint32_t has_sm_meant(void);

/* SMs up to which a launch costs nothing but its time: none while a partition is being made. */
uint32_t has_sm_unpriced(void);

/* A stream on the pod's largest partition, ordered after the lane; false when none is larger. Also
 * while the lane captures: then the launch becomes a branch of the graph. */
bool has_sm_widest(struct has_lane *lane, CUstream *wide);

/* SMs of that partition. */
uint32_t has_sm_most(void);

/* Orders one stream after another. */
bool has_sm_order(CUstream before, CUstream after);

/* The program destroys a stream. */
void has_sm_forget(CUstream stream);

/* The program waits for the whole context; only then may the host wait for our streams. */
CUresult has_sm_wait_all(void);

/* Around a call that the driver itself puts on a default stream; between enter and leave. */
void has_sm_before_default(struct has_lane *lane);
void has_sm_after_default(struct has_lane *lane);

/* Milliseconds, as the helper saw them last: cheap for the launch path. */
extern atomic_uint has_tick_ms;

/* The helper thread's part: has partitions made, and reports what has come into force. */
void has_sm_tick(void);

/* The partition of these limits was made, or cannot be: HAS_NOWHERE. */
void has_sm_made(const struct has_view *view, int partition);

/* Whether limits were read just now that are not in force yet. */
bool has_sm_pending(void);

/* The program has a context of its own besides the primary one: partitions are over. */
void has_sm_give_up(void);

/* There is a primary context: partitions can be made. */
void has_sm_context(CUcontext primary);

/* The context of a partition, the primary one for HAS_WHOLE; NULL: not known. And back; less than
 * HAS_WHOLE: none of them. */
CUcontext has_sm_context_of(int partition);
int has_sm_partition_of(CUcontext context);

/* Whether graphs may ever have to run on another partition. */
bool has_sm_moves_graphs(void);

void has_sm_after_fork(void);

#endif
