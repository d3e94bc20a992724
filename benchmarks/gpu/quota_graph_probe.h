/* What the two halves of the graph probe share. */
#ifndef QUOTA_GRAPH_PROBE_H
#define QUOTA_GRAPH_PROBE_H

#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_BEFORE 1024

extern char probe_said[512];
extern CUcontext probe_context;
extern CUstream probe_stream;

#define TRY(call)                                                                          \
    do {                                                                                   \
        CUresult result_ = (call);                                                         \
        if (result_ != CUDA_SUCCESS) {                                                     \
            snprintf(probe_said, sizeof probe_said, "%d from %s", (int)result_, #call);    \
            return result_;                                                                \
        }                                                                                  \
    } while (0)

static inline double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Nodes that a node comes after, and how. */
int probe_dependencies(CUgraphNode node, CUgraphNode *before, CUgraphEdgeData *data,
                       size_t *count);

/* Its kernel by name and the partition's context; fails for a node that names a function. */
int probe_name_context(CUDA_KERNEL_NODE_PARAMS *kernel, int as_kern);

#endif
