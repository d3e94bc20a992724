#include "lane.h"

#include <pthread.h>
#include <string.h>

#include "real.h"

#define GIVEN_UP ((uintptr_t)1)
#define LEGACY_KEY ((uintptr_t)CU_STREAM_LEGACY + 16)

static struct has_lane lanes[HAS_LANES];
static _Atomic(struct has_lane *) made[HAS_LANES];
static atomic_uint made_count;
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint generation; /* grows when a lane is given up, so caches notice */

/* The address of this names the thread's own default stream. */
static _Thread_local char thread_mark;
static _Thread_local struct {
    uintptr_t key;
    unsigned generation;
    struct has_lane *lane;
} last;

static uintptr_t key_of(CUstream stream, bool per_thread)
{
    if (stream == CU_STREAM_PER_THREAD || (!stream && per_thread))
        return (uintptr_t)&thread_mark;
    return !stream || stream == CU_STREAM_LEGACY ? LEGACY_KEY : (uintptr_t)stream;
}

static uint32_t place(uintptr_t key)
{
    return (uint32_t)((key >> 4) * 0x9e3779b97f4a7c15ull >> 32) % HAS_LANES;
}

static struct has_lane *find(uintptr_t key)
{
    for (uint32_t i = 0, at = place(key); i < HAS_LANES; i++, at = (at + 1) % HAS_LANES) {
        uintptr_t here = atomic_load_explicit(&lanes[at].key, memory_order_acquire);
        if (here == key)
            return &lanes[at];
        if (!here)
            return NULL;
    }
    return NULL;
}

static void fill(struct has_lane *lane, CUstream stream, uintptr_t key)
{
    unsigned flags = CU_STREAM_DEFAULT;
    CUgreenCtx green = NULL;
    int priority = 0;
    bool default_stream = key == LEGACY_KEY || key == (uintptr_t)&thread_mark;
    if (!default_stream && has_use.cuStreamGetFlags)
        has_use.cuStreamGetFlags(stream, &flags);
    if (!default_stream && has_use.cuStreamGetGreenCtx)
        has_use.cuStreamGetGreenCtx(stream, &green);
    lane->app = key == LEGACY_KEY ? NULL
                : default_stream  ? CU_STREAM_PER_THREAD
                                  : stream;
    lane->per_thread = default_stream && key != LEGACY_KEY;
    lane->legacy = key == LEGACY_KEY;
    lane->blocking = !lane->legacy && !(flags & CU_STREAM_NON_BLOCKING);
    lane->fixed = green != NULL;
    if (!default_stream && has_use.cuStreamGetPriority)
        has_use.cuStreamGetPriority(stream, &priority);
    lane->priority = priority;
    for (int i = 0; i < HAS_PARTITIONS; i++)
        atomic_store_explicit(&lane->streams[i], NULL, memory_order_relaxed);
    atomic_store(&lane->users, 0);
    atomic_store(&lane->partition, HAS_WHOLE);
    atomic_store(&lane->used_ms, 0);
    atomic_store(&lane->work, 0);
    atomic_store(&lane->joined, 0);
    atomic_store(&lane->seen, 0);
    /* Batches of a stream that had this place before are still settled: the ring stays. */
    atomic_store_explicit(&lane->physical, NULL, memory_order_relaxed);
}

static struct has_lane *make(CUstream stream, uintptr_t key)
{
    pthread_mutex_lock(&making);
    struct has_lane *lane = find(key);
    for (uint32_t i = 0, at = place(key); !lane && i < HAS_LANES; i++, at = (at + 1) % HAS_LANES) {
        uintptr_t here = atomic_load_explicit(&lanes[at].key, memory_order_relaxed);
        if (here > GIVEN_UP)
            continue;
        lane = &lanes[at];
        fill(lane, stream, key);
        if (here == 0) {
            unsigned count = atomic_load(&made_count);
            atomic_store(&made[count], lane);
            atomic_store_explicit(&made_count, count + 1, memory_order_release);
        }
        atomic_store_explicit(&lane->key, key, memory_order_release);
    }
    pthread_mutex_unlock(&making);
    return lane;
}

struct has_lane *has_lane_of(CUstream stream, bool per_thread)
{
    uintptr_t key = key_of(stream, per_thread);
    unsigned now = atomic_load_explicit(&generation, memory_order_acquire);
    if (last.key == key && last.generation == now)
        return last.lane;
    struct has_lane *lane = find(key);
    if (!lane)
        lane = make(stream, key);
    last.key = key;
    last.generation = now;
    last.lane = lane;
    return lane;
}

void has_lane_forget(CUstream stream)
{
    uintptr_t key = (uintptr_t)stream;
    struct has_lane *lane = key > GIVEN_UP ? find(key) : NULL;
    if (lane) {
        atomic_store_explicit(&lane->key, GIVEN_UP, memory_order_release);
        atomic_fetch_add_explicit(&generation, 1, memory_order_release);
    }
}

void has_lane_leave_partition(int partition)
{
    struct has_lane *lane;
    for (uint32_t i = 0; (lane = has_lane_at(i)); i++) {
        has_lane_lock();
        CUstream ours = atomic_exchange(&lane->streams[partition], NULL);
        has_lane_unlock();
        if (ours)
            has_real.cuStreamDestroy_v2(ours);
    }
}

void has_lane_lock(void)
{
    pthread_mutex_lock(&making);
}

void has_lane_unlock(void)
{
    pthread_mutex_unlock(&making);
}

struct has_lane *has_lane_at(uint32_t index)
{
    return index < atomic_load_explicit(&made_count, memory_order_acquire)
               ? atomic_load_explicit(&made[index], memory_order_relaxed)
               : NULL;
}

void has_lane_after_fork(void)
{
    pthread_mutex_init(&making, NULL);
    for (uint32_t i = 0; i < HAS_LANES; i++)
        if (atomic_load(&lanes[i].key))
            memset(&lanes[i], 0, sizeof(lanes[i]));
    atomic_store(&made_count, 0);
    atomic_fetch_add(&generation, 1);
}
