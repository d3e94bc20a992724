/* Allocations and pools of this process. */
#ifndef EMU_MEMORY_H
#define EMU_MEMORY_H

#include "objects.h"

size_t memory_round(size_t bytes);

/* Make and remember an allocation that is charged already. */
bool memory_map(struct gpu *gpu, size_t bytes, CUmemoryPool pool, CUdeviceptr *pointer);
/* Forget one; false when there is none at `pointer`. The charge stays with the caller. */
bool memory_unmap(CUdeviceptr pointer, struct gpu **gpu, size_t *bytes, CUmemoryPool *pool);

/* Bytes of an allocation come back to its pool. */
void pool_give(CUmemoryPool pool, size_t bytes);

#endif
