/* A pod in slot 1 of a lease file in which the case plays its neighbours. */
#ifndef LEASE_CASE_H
#define LEASE_CASE_H

#include <pthread.h>

#include "pod_case.h"

#define MINE (1ull << 1)
#define OTHER (1ull << 2)
#define FAR (1ull << 3)
#define WINDOW (50 * 1000000ll)
#define SLICE (8 * 1000000ll)

static struct has_leases *leases;
static CUfunction half;
static CUstream stream;

static void open_leases(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("KSERVE_HAS_LEASES"), limits->gpu_uuid);
    int file = open(path, O_RDWR);
    CHECK(file >= 0);
    leases = mmap(NULL, HAS_LEASES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(leases != MAP_FAILED);
    close(file);
}

/* In slot 1, in conflict with slot 2. */
static void share(unsigned quota, uint32_t flags)
{
    start();
    open_leases();
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    half = kernel("wide_100us");
    limits->lease_slot = 1;
    limits->lease_conflicts = OTHER;
    limits->lease_slice_ns = SLICE;
    limits->flags |= flags;
    resize(ALL, quota);
}

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void say(int64_t *at)
{
    __atomic_store_n(at, now_ns(), __ATOMIC_RELAXED);
}

static void set(uint64_t *word, uint64_t bits)
{
    __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

static void clear(uint64_t *word, uint64_t bits)
{
    __atomic_fetch_and(word, ~bits, __ATOMIC_SEQ_CST);
}

static double launch_ms(void)
{
    int64_t begin = now_ns();
    OK(launch(half, stream));
    return (double)(now_ns() - begin) / MS;
}

static bool becomes(const uint64_t *word, uint64_t bits, bool there, int ms)
{
    for (int64_t end = now_ns() + ms * 1000000ll; now_ns() < end; pause_us(100))
        if ((load(word) & bits ? true : false) == there)
            return true;
    return false;
}

static inline void *keep_launching(void *until)
{
    OK(cuCtxSetCurrent(primary_context()));
    while (now_ns() < *(int64_t *)until)
        OK(launch(half, stream));
    return NULL;
}

static inline void wait_in_line(int64_t since, uint64_t conflicts)
{
    leases->slots[2].conflicts = conflicts;
    leases->slots[2].waits_since_ns = since;
    say(&leases->slots[2].waits_at_ns);
    set(&leases->waiting, OTHER);
}

/* Milliseconds until the pod lets a waiter in that comes now. */
static inline double let_in_ms(uint64_t conflicts)
{
    int64_t begin = now_ns();
    wait_in_line(begin, conflicts);
    while (load(&leases->running) & MINE) {
        CHECK(now_ns() - begin < 2000 * 1000000ll);
        say(&leases->slots[2].waits_at_ns);
        pause_us(50);
    }
    double took = (double)(now_ns() - begin) / MS;
    say(&leases->slots[2].renewed_at_ns);
    set(&leases->running, OTHER);
    clear(&leases->waiting, OTHER);
    return took;
}

#endif
