/* What the driver keeps inside one process: contexts, streams, events, modules. */
#ifndef EMU_OBJECTS_H
#define EMU_OBJECTS_H

#include "../include/has_cuda.h"
#include "machine.h"

enum object_kind {
    KIND_CONTEXT = 0x58544348,
    KIND_STREAM = 0x52545348,
    KIND_EVENT = 0x4e564548,
    KIND_MODULE = 0x444f4d48,
    KIND_GREEN = 0x4e524748,
    KIND_GRAPH = 0x48524748,
    KIND_EXEC = 0x45584748,
    KIND_POOL = 0x4c4f4f50,
};

struct CUctx_st {
    uint32_t kind;
    unsigned flags;
    struct gpu *gpu;
    struct sm_set sms;
    CUgreenCtx green; /* when converted from a green context */
    unsigned retained;
    CUstream streams; /* every live stream but the legacy one, linked by `next` */
    CUstream legacy;  /* the NULL stream, made at its first use */
    uint64_t id;
};

struct CUstream_st {
    uint32_t kind;
    uint32_t queue;
    CUcontext context;
    unsigned flags;
    int priority;
    uint64_t id;
    struct capture *capture; /* NULL unless capturing */
    CUgraphNode captured;    /* last node of the stream in its capture */
    uint64_t ordered_after;  /* blocking: how far into the legacy queue it waits already */
    CUstream next;
};

struct CUevent_st {
    uint32_t kind;
    uint32_t index; /* in the shared file */
    CUcontext context;
    unsigned flags;
    uint64_t records; /* number of the last record submitted */
    uint32_t queue;   /* where, and what the queue has done when it took place */
    uint64_t target;
    struct capture *capture; /* last recorded in a capture, then not usable outside */
    CUgraphNode captured;    /* the node it stands for there */
};

struct CUfunc_st {
    CUmodule module;
    char *name;
    double work_sm_ns;
    double floor_ns;
    double max_sm;
};

struct CUmod_st {
    uint32_t kind;
    bool library; /* its functions are kernels too */
    CUcontext context;
    int function_count;
    struct CUfunc_st *functions;
};

struct CUgreenCtx_st {
    uint32_t kind;
    unsigned flags;
    struct CUctx_st context;
};

/* One lock over the lists above; taken before a GPU's lock, never after. */
void objects_lock(void);
void objects_unlock(void);
uint64_t objects_next_id(void);

/* CUDA_SUCCESS once cuInit was called in this process and the process is not ending. */
CUresult driver_state(void);
CUresult device_gpu(CUdevice device, struct gpu **gpu);

enum fault { FAULT_ALLOC, FAULT_LAUNCH, FAULT_GREEN, FAULT_STREAM, FAULT_INSTANTIATE, FAULT_KINDS };
/* Count a call of this kind; whether it is to fail (see faults.c). */
bool fault_due(enum fault kind);
enum slow { SLOW_QUERY, SLOW_GREEN, SLOW_GREEN_STREAM, SLOW_GRAPH_LAUNCH, SLOW_INSTANTIATE, SLOW_KINDS };
/* Take as long as a call of this kind is meant to. */
void fault_slow(enum slow kind);
int fault_graph_sms(void);
unsigned long fault_graphs(void);
unsigned long fault_greens(void);
unsigned long fault_green_trips(void);

/* The context on top of the calling thread's stack; NULL when there is none. */
CUcontext context_current(void);
CUresult context_required(CUcontext *context);
void context_init(CUcontext context, struct gpu *gpu, unsigned flags);
void context_end(CUcontext context);
bool context_is_live(CUcontext context);

/* Turn a handle, 0, CU_STREAM_LEGACY or CU_STREAM_PER_THREAD into a stream. */
CUresult stream_resolve(CUstream handle, CUstream *stream);
CUresult stream_create(CUcontext context, unsigned flags, int priority, CUstream *stream);
/* Unlink a stream and let its queue run empty; the caller frees or keeps the object. */
void stream_end(CUstream stream);
/* Submit with the ordering of the NULL stream; returns what the queue has done afterwards. */
uint64_t stream_submit(CUstream stream, struct emu_op op);
void stream_wait(CUstream stream);

/* Charge device memory to this process; CUDA_ERROR_OUT_OF_MEMORY when the GPU has no more. */
CUresult memory_charge(struct gpu *gpu, size_t bytes);
void memory_release(struct gpu *gpu, size_t bytes);

/* Run a function on the driver's own thread, in stream order. */
CUresult host_submit(CUstream stream, CUhostFn function, void *data);

extern _Thread_local bool sync_calls_per_thread; /* the call came through a _ptds symbol */
CUstream sync_stream(void);

#endif
