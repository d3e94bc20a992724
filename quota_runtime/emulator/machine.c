#include "machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gpu_list.h"

#define STEPS_PER_HOLD 64          /* keeps the lock held for tens of microseconds at most */
#define REAP_PERIOD_NS 100000000ll /* what a killed process queued runs on no longer than this */
#define SHORTEST_SLEEP_NS 20000ll
#define LONGEST_BLIND_SLEEP_NS 1000000ll /* waiting for something whose end is not known */

static struct gpu opened[MACHINE_MAX_GPUS];
static int opened_count;
static bool clock_is_virtual;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void open_all(void)
{
    const char *clock = getenv("HAS_EMULATOR_CLOCK");
    clock_is_virtual = clock && strcmp(clock, "virtual") == 0;
    struct emu_gpu *found[MACHINE_MAX_GPUS];
    opened_count = gpu_list_open(found, MACHINE_MAX_GPUS);
    for (int i = 0; i < opened_count; i++)
        opened[i] = (struct gpu){.shared = found[i], .ordinal = i};
}

int machine_gpus(struct gpu **gpus)
{
    pthread_once(&once, open_all);
    *gpus = opened;
    return opened_count;
}

int64_t machine_monotonic_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

int64_t machine_now(const struct gpu *gpu)
{
    return clock_is_virtual ? gpu->shared->virtual_ns : machine_monotonic_ns();
}

void machine_lock(struct gpu *gpu)
{
    if (pthread_mutex_lock(&gpu->shared->lock) == EOWNERDEAD) {
        engine_recover(gpu->shared);
        pthread_mutex_consistent(&gpu->shared->lock);
    }
}

void machine_unlock(struct gpu *gpu)
{
    pthread_mutex_unlock(&gpu->shared->lock);
}

void machine_refresh(struct gpu *gpu)
{
    int64_t now = machine_now(gpu);
    while (!engine_advance(gpu->shared, now, STEPS_PER_HOLD)) {
        machine_unlock(gpu);
        machine_lock(gpu);
    }
}

static void sleep_until(int64_t at_ns)
{
    static _Thread_local bool precise;
    if (!precise) {
        prctl(PR_SET_TIMERSLACK, 1000ul, 0ul, 0ul, 0ul); /* the default adds 50 us to each wait */
        precise = true;
    }
    struct timespec ts = {.tv_sec = at_ns / 1000000000ll, .tv_nsec = at_ns % 1000000000ll};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* One sleep towards the moment when the queue can have done `target` operations. Nothing can
 * make it earlier than `bound`; sharing can make it later, so the caller looks again. */
static void doze(struct gpu *gpu, int64_t bound, int64_t *blind_ns)
{
    int64_t now = machine_monotonic_ns(), wake = bound;
    if (bound <= now) {
        wake = now + *blind_ns;
        if (*blind_ns < LONGEST_BLIND_SLEEP_NS)
            *blind_ns *= 2;
    } else {
        *blind_ns = SHORTEST_SLEEP_NS;
    }
    if (wake > now + REAP_PERIOD_NS)
        wake = now + REAP_PERIOD_NS;
    sleep_until(wake > now + SHORTEST_SLEEP_NS ? wake : now + SHORTEST_SLEEP_NS);
    machine_reap(gpu, false);
}

/* With the virtual clock nobody else moves time while we wait: go to the next event. */
static void skip_to_next_event(struct gpu *gpu)
{
    machine_lock(gpu);
    int64_t next = engine_next(gpu->shared);
    if (next != ENGINE_NEVER && next > gpu->shared->virtual_ns)
        gpu->shared->virtual_ns = next;
    machine_unlock(gpu);
    if (next == ENGINE_NEVER)
        sleep_until(machine_monotonic_ns() + SHORTEST_SLEEP_NS); /* a host function is running */
}

void machine_wait(struct gpu *gpu, uint32_t queue, uint64_t target)
{
    const struct emu_queue *q = &gpu->shared->queues[queue];
    int64_t blind_ns = SHORTEST_SLEEP_NS;
    while (__atomic_load_n(&q->head, __ATOMIC_ACQUIRE) < target) {
        machine_lock(gpu);
        machine_refresh(gpu);
        bool done = q->head >= target;
        int64_t bound = engine_bound(gpu->shared, queue, target);
        machine_unlock(gpu);
        if (done)
            return;
        if (clock_is_virtual)
            skip_to_next_event(gpu);
        else
            doze(gpu, bound, &blind_ns);
    }
}

void machine_push(struct gpu *gpu, uint32_t queue, struct emu_op op)
{
    op.submit_ns = machine_now(gpu);
    while (!engine_push(gpu->shared, queue, op)) {
        uint64_t half = gpu->shared->queues[queue].head + EMU_RING / 2;
        machine_unlock(gpu);
        machine_wait(gpu, queue, half);
        machine_lock(gpu);
    }
}

bool machine_advance_clock(struct gpu *gpu, int64_t ns)
{
    if (!clock_is_virtual || ns < 0)
        return false;
    machine_lock(gpu);
    gpu->shared->virtual_ns += ns;
    machine_refresh(gpu);
    machine_unlock(gpu);
    return true;
}
