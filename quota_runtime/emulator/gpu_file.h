/* The shared mapped file of one emulated GPU: geometry, processes, queues, events, operations.
 *
 * Everything a GPU does is in this file, so any process that looks at it can bring it up to now.
 * The first part is written by make_gpus.py; the rest is zero until the first process opens it.
 * Every operation is written before the queue's tail moves, and derived values (active bits,
 * memory in use) can be rebuilt, so that a process killed with the lock held leaves a sane GPU.
 */
#ifndef EMU_GPU_FILE_H
#define EMU_GPU_FILE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#define EMU_MAGIC 0x3155504755454148ull /* "HAEUGPU1" little-endian */
#define EMU_LAYOUT 1u
#define EMU_SM_WORDS 3
#define EMU_QUEUES 512
#define EMU_RING 1024
#define EMU_EVENTS 16384
#define EMU_PROCESSES 128
#define EMU_GEOMETRY_BYTES 256

struct sm_set {
    uint64_t word[EMU_SM_WORDS];
};

enum op_kind {
    OP_KERNEL, /* takes SMs */
    OP_DELAY,  /* takes time: a copy or a memset */
    OP_EVENT,  /* writes the time into an event */
    OP_WAIT,   /* until another queue of the process is as far as target */
    OP_HOST,   /* until the owning process says that its function ran */
};

struct emu_op {
    struct sm_set sms;
    double work;       /* OP_KERNEL: SM-ns; OP_DELAY: ns */
    double cap;        /* OP_KERNEL: SMs it can use, at most */
    int64_t submit_ns; /* it cannot start before */
    uint64_t bound_ns; /* shortest time of this and all operations before it in the queue */
    uint64_t target;   /* OP_WAIT: operations the other queue must have done; OP_EVENT: record */
    uint32_t index;    /* OP_WAIT: other queue; OP_EVENT: event; OP_HOST: function id */
    uint32_t kind;
};

struct emu_queue {
    uint32_t owner;   /* process slot + 1; 0 when free */
    uint32_t closing; /* free it when it runs empty */
    uint64_t head;    /* operations done, ever; survives reuse of the queue */
    uint64_t tail;    /* operations submitted, ever */
    double left;      /* work left of the operation at the head */
    double rate;      /* SMs it has now; 1 for a delay */
    uint32_t started; /* the head takes SMs or time now */
    uint32_t pad;
    uint64_t bound_ns; /* bound_ns of the last operation submitted */
};

struct emu_event {
    uint32_t owner; /* process slot + 1; 0 when free */
    uint32_t pad;
    uint64_t done;       /* number of the last record that took place */
    int64_t at_ns;       /* when */
    uint64_t free_after; /* destroyed by its process: free it when this record took place */
};

struct emu_process {
    uint32_t pid; /* 0 when free */
    uint32_t pad;
    uint64_t start_time;    /* /proc/PID/stat field 22, so that a reused pid is told apart */
    uint64_t pid_namespace; /* inode; others cannot be asked about */
    uint64_t memory_bytes;
    double sm_ns; /* SM time used, for utilisation per process */
    double shared_ns; /* time in which its kernels ran on SMs that other processes used as well */
};

struct emu_gpu {
    uint64_t magic;
    uint32_t layout;
    uint32_t sm_count;
    uint32_t sm_group_size;
    uint32_t pad;
    uint64_t memory_bytes;
    char uuid[48];
    char product[64];
    char geometry_pad[EMU_GEOMETRY_BYTES - 144];

    uint32_t ready; /* lock is initialised */
    uint32_t pad2;
    pthread_mutex_t lock;
    int64_t at_ns;      /* the state below is that of this moment */
    int64_t virtual_ns; /* the virtual clock */
    int64_t reaped_ns;  /* last look for dead processes, CLOCK_MONOTONIC */
    double busy_sm_ns;  /* SM time given to kernels, ever */
    int64_t busy_ns;    /* time with at least one kernel running, ever */
    uint64_t memory_used;
    uint32_t event_hint;
    uint32_t dirty; /* rates must be computed again */
    uint64_t active[EMU_QUEUES / 64];
    uint64_t sharing[EMU_PROCESSES / 64]; /* processes whose shared_ns grows now */
    struct emu_process processes[EMU_PROCESSES];
    struct emu_queue queues[EMU_QUEUES];
    struct emu_event events[EMU_EVENTS];
    struct emu_op ops[EMU_QUEUES][EMU_RING];
};

_Static_assert(offsetof(struct emu_gpu, ready) == EMU_GEOMETRY_BYTES, "make_gpus.py writes it");
_Static_assert(EMU_QUEUES % 64 == 0, "active is a bitmap");

#endif
