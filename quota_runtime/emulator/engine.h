/* The simulated GPU as a function of time. Pure: no lock, no clock, no system call.
 *
 * The caller holds the GPU's lock and passes `now`; state is brought forward lazily, event by
 * event, by whoever looks.
 */
#ifndef EMU_ENGINE_H
#define EMU_ENGINE_H

#include <stdbool.h>

#include "share.h"

#define ENGINE_NEVER INT64_MAX

/* Bring the GPU to `now`. Returns false when `max_steps` events were not enough; call again. */
bool engine_advance(struct emu_gpu *gpu, int64_t now, int max_steps);

/* Time of the next event after the GPU's state, ENGINE_NEVER when nothing will ever happen. */
int64_t engine_next(const struct emu_gpu *gpu);

/* Append an operation; false when the queue is full. Fills in its bound and its place. */
bool engine_push(struct emu_gpu *gpu, uint32_t queue, struct emu_op op);

/* A moment before which the queue cannot have done `target` operations. */
int64_t engine_bound(const struct emu_gpu *gpu, uint32_t queue, uint64_t target);

/* The function of an OP_HOST at the head of `queue` ran. */
void engine_host_done(struct emu_gpu *gpu, uint32_t queue);

/* Take a free queue or event for a process slot; -1 when there is none. */
int engine_take_queue(struct emu_gpu *gpu, uint32_t process);
int engine_take_event(struct emu_gpu *gpu, uint32_t process);

/* Free a queue as soon as it is empty. */
void engine_close_queue(struct emu_gpu *gpu, uint32_t queue);

/* Free an event as soon as its last record took place. */
void engine_close_event(struct emu_gpu *gpu, uint32_t event, uint64_t last_record);

/* A process is gone: drop its operations, queues, events and memory. */
void engine_drop_process(struct emu_gpu *gpu, uint32_t process);

/* Rebuild what is derived, after a process died with the lock held. */
void engine_recover(struct emu_gpu *gpu);

/* A kernel that alone on s SMs takes max(floor, work / min(s, max_sm)). */
struct emu_op engine_kernel(const struct sm_set *sms, double work_sm_ns, double floor_ns,
                            double max_sm);
struct emu_op engine_delay(double ns);

#endif
