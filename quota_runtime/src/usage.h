#ifndef HAS_USAGE_H
#define HAS_USAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Clock ticks since boot at which a process started, from the text of its /proc stat file. */
uint64_t has_start_time_in(const char *stat);
uint64_t has_start_time(void);

/* Gives back what processes of the pod held that are dead. */
void has_usage_reap(void);

/* Whether another process of the pod has said since `after_ns` that it works under its lease. */
bool has_usage_under_lease(int64_t after_ns);

/* The child of a fork gets a slot of its own. */
void has_usage_after_fork(void);

#endif
