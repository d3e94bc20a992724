/* Metering: GPU time between events that the library puts on the program's streams. */
#ifndef HAS_METER_H
#define HAS_METER_H

#include "lane.h"
#include "state.h"

/* Notes a launch that is about to happen; opens a batch with an event when none is open. */
void has_meter_before(struct has_lane *lane, uint16_t key, uint32_t expected_ns,
                      struct has_pass pass, uint32_t sms);

/* Ends the lane's batch when it is long enough, or at once. */
void has_meter_after(struct has_lane *lane, const struct has_view *view, bool at_once);

/* The launch just noted runs on more SMs than the lane's, so its batch costs that and ends. */
void has_meter_widen(struct has_lane *lane, uint32_t sms);

/* Settles every batch that the GPU has finished. Never waits. */
void has_meter_harvest(void);

/* As harvest, and ends batches that stay open although nothing follows. From the helper thread. */
void has_meter_tick(void);

/* The launch just noted is that of a graph on SMs of its own. */
void has_meter_elsewhere(struct has_lane *lane, int partition);

/* Whether no metered work is open or in flight anywhere but on one partition, graphs on SMs of their
 * own left out or not; false also when it cannot be told now. */
bool has_meter_drained(int partition, bool with_graphs);

/* Whether anything metered is in flight. */
bool has_meter_busy(void);

/* Ends every batch that is open and settles what the GPU has finished. `own` may be NULL: the lane
 * of this thread's call, which alone can end a batch on the thread's default stream. */
void has_meter_flush(struct has_lane *own);

/* GPU time that is expected of what is in flight, and how much of it is still to come. */
uint64_t has_meter_outstanding(void);
uint64_t has_meter_remaining(uint64_t now_ns);

/* For how long something has been in flight without anything coming to its end. */
uint64_t has_meter_stalled(uint64_t now_ns);

/* When the last work in flight was seen to have ended. */
uint64_t has_meter_idle_since(void);

/* Drops what is open on a lane whose stream is going away or is about to capture. */
void has_meter_close(struct has_lane *lane);

void has_meter_after_fork(void);

#endif
