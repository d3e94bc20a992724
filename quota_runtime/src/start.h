#ifndef HAS_START_H
#define HAS_START_H

#include "has_cuda.h"

/* The program has a primary context now: what needs one can begin. */
void has_start_with(CUcontext context, CUdevice device);

/* There is something to do that cannot wait for the helper thread's next look. */
void has_helper_nudge(void);

#endif
