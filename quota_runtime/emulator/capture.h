/* Stream capture: what calls on a capturing stream do instead of running. */
#ifndef EMU_CAPTURE_H
#define EMU_CAPTURE_H

#include "objects.h"

struct capture {
    CUgraph graph;
    CUstream origin;
    uint64_t id;
    bool spoiled;
};

/* A call that a capture forbids; it spoils the capture and returns the error of the call. */
CUresult capture_spoil(struct capture *capture);
/* The same for a wait on an event from outside. */
CUresult capture_isolation(struct capture *capture);
/* A stream waits for an event of the capture and so becomes part of it. */
CUresult capture_join(CUstream stream, struct capture *capture, CUgraphNode after);

CUresult capture_kernel(CUstream stream, const CUDA_KERNEL_NODE_PARAMS *parameters,
                        bool cooperative);
CUresult capture_delay(CUstream stream, CUgraphNodeType type, double ns);
CUresult capture_host(CUstream stream, CUhostFn function, void *data);

#endif
