/* This process's view of the emulated GPUs: mapping, lock, clock, waiting. */
#ifndef EMU_MACHINE_H
#define EMU_MACHINE_H

#include "engine.h"

#define MACHINE_MAX_GPUS 16

struct gpu {
    struct emu_gpu *shared;
    int ordinal;
    uint32_t process; /* our slot, valid when attached */
    bool attached;
};

/* GPUs this process may see, in the order of gpus.json; opened once. */
int machine_gpus(struct gpu **gpus);

/* Become one of the GPU's processes; false when it has no slot left. */
bool machine_attach(struct gpu *gpu);

void machine_lock(struct gpu *gpu);
void machine_unlock(struct gpu *gpu);

/* The GPU's clock. Read it with the lock held where it orders operations. */
int64_t machine_now(const struct gpu *gpu);
int64_t machine_monotonic_ns(void);

/* Bring the GPU to now, giving the lock away between pieces of work. Called with the lock held. */
void machine_refresh(struct gpu *gpu);

/* Sleep until the queue has done `target` operations. Called without the lock. */
void machine_wait(struct gpu *gpu, uint32_t queue, uint64_t target);

/* Append with the lock held; sleeps (lock released) while the queue is full. */
void machine_push(struct gpu *gpu, uint32_t queue, struct emu_op op);

/* Take away what dead processes left behind; cheap when called often. */
void machine_reap(struct gpu *gpu, bool at_once);

/* Move the virtual clock; false when the clock is the real one. */
bool machine_advance_clock(struct gpu *gpu, int64_t ns);

#endif
