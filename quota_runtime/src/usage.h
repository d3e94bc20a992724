#ifndef HAS_USAGE_H
#define HAS_USAGE_H

#include <stdint.h>

/* Clock ticks since boot at which a process started, from the text of its /proc stat file. */
uint64_t has_start_time_in(const char *stat);
uint64_t has_start_time(void);

/* Gives back what processes of the pod held that are dead. */
void has_usage_reap(void);

/* The child of a fork gets a slot of its own. */
void has_usage_after_fork(void);

#endif
