#ifndef HAS_START_H
#define HAS_START_H

#include <stdbool.h>
#include <stddef.h>

#include "has_cuda.h"

/* The program has a primary context now: what needs one can begin. */
void has_start_with(CUcontext context, CUdevice device);

/* Runs a function in a thread of ours, which the end of the process waits for a moment; false: there
 * can be none. */
bool has_thread_start(void (*run)(void), size_t stack_bytes);

/* Whether the process ends. */
bool has_leaving(void);

/* There is something to do that cannot wait for the helper thread's next look. */
void has_helper_nudge(void);

#endif
