/* A process of a pod on the emulated GPU: its kernels, and its limits file seen from the agent. */
#ifndef POD_CASE_H
#define POD_CASE_H

#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../../quota_runtime/include/has_abi.h"
#include "../emulator/driver_case.h"

#define HALF 0xffull
#define QUARTER 0xfull
#define ALL 0xffffull

static struct has_limits *limits;
static struct has_usage_header *usage;

static void *map(const char *name, size_t size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("KSERVE_HAS_DIR"), name);
    int file = open(path, O_RDWR);
    CHECK(file >= 0);
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(mapped != MAP_FAILED);
    close(file);
    return mapped;
}

/* After the first CUDA call, which makes the usage file. */
static CUcontext start(void)
{
    CUcontext context = primary_context();
    limits = map("limits", HAS_LIMITS_SIZE);
    usage = map("usage", sizeof *usage + HAS_USAGE_SLOTS * sizeof(struct has_usage_slot));
    return context;
}

static struct has_usage_slot *slot(void)
{
    struct has_usage_slot *slots = (struct has_usage_slot *)(usage + 1);
    for (unsigned i = 0; i < HAS_USAGE_SLOTS; i++)
        if (slots[i].state == HAS_SLOT_LIVE && slots[i].pid == (uint32_t)getpid())
            return &slots[i];
    CHECK(!"a slot of this process");
    return NULL;
}

static uint64_t write_limits(uint64_t groups, unsigned quota, uint64_t memory)
{
    __atomic_fetch_or(&limits->seq, 1, __ATOMIC_ACQ_REL);
    limits->sm_groups[0] = groups;
    limits->quota_permille = quota;
    limits->memory_limit_bytes = memory;
    uint64_t epoch = ++limits->epoch;
    __atomic_fetch_add(&limits->seq, 1, __ATOMIC_ACQ_REL);
    return epoch;
}

static void pause_us(unsigned us)
{
    struct timespec wait = {us / 1000000, us % 1000000 * 1000l};
    nanosleep(&wait, NULL);
}

/* Writes limits and waits until the library says that they hold. */
static void resize(uint64_t groups, unsigned quota)
{
    uint64_t epoch = write_limits(groups, quota, 1ull << 40);
    for (int i = 0; i < 3000; i++) {
        if (__atomic_load_n(&slot()->epoch_in_force, __ATOMIC_ACQUIRE) >= epoch)
            return;
        CHECK(cuCtxSynchronize() == CUDA_SUCCESS);
        pause_us(1000);
    }
    CHECK(!"limits in force within three seconds");
}

/* Simulated nanoseconds of one launch, with the queue never empty around it. */
static double cost_of(CUfunction function, CUstream stream)
{
    for (int i = 0; i < 5; i++) /* the host may be held up for some milliseconds */
        OK(launch(function, stream));
    CUevent begin = record(stream);
    OK(launch(function, stream));
    return between_ns(begin, record(stream));
}

/* Never more than granted; less only as far as a busy machine is late with the next launch. */
static void check_share(double found, double granted)
{
    CHECK(found < granted + 0.03);
    CHECK(found > granted * 0.7);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

#endif
