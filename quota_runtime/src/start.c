/* The start of the library in a process: on its first CUDA call, never before.
 *
 * A helper thread does what must happen although the program is idle or waits: look for limits,
 * say that we are alive, end and settle what was metered.
 */
#include "start.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "capture.h"
#include "lease.h"
#include "ledger.h"
#include "limits.h"
#include "meter.h"
#include "real.h"
#include "sm.h"
#include "state.h"
#include "usage.h"

#define BUSY_NAP_NS 1000000
#define PENDING_NAP_NS 100000 /* limits are on their way: what they replace drains any moment */
#define IDLE_NAP_NS 10000000
#define LEASE_NAP_NS 150000        /* while others may want what this process holds */
#define LOOK_EVERY_NS 100000000ull /* for a limits file that is new or was replaced */
#define LEAVE_PATIENCE 50          /* naps of 1 ms that the exit waits for the helper */

atomic_bool has_started;

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static bool forked_hook;
static bool wanted; /* there is a folder to read limits from */
static _Atomic(CUcontext) context;
static atomic_bool leaving;
static atomic_int threads; /* of ours that run */
static atomic_uint nudges; /* a futex: the helper sleeps while it does not change */

static void help(bool *is_current, uint64_t *looked_at)
{
    CUcontext now = atomic_load(&context);
    if (now && !*is_current && has_use.cuCtxSetCurrent) {
        *is_current = has_use.cuCtxSetCurrent(now) == CUDA_SUCCESS;
        has_capture_relax();
    }
    uint64_t time = has_now_ns();
    if (time - *looked_at > LOOK_EVERY_NS) {
        *looked_at = time;
        has_lease_look();
        has_limits_look();
        has_usage_reap();
    }
    const struct has_view *view = has_limits_now();
    if (!view)
        return;
    HAS_SET(heartbeat_ns, (int64_t)time);
    if (*is_current) {
        has_meter_tick();
        has_sm_tick();
    }
    has_lease_tick(view, has_now_ns(), *is_current && !has_capture_any());
}

void has_helper_nudge(void)
{
    atomic_fetch_add(&nudges, 1);
    syscall(SYS_futex, &nudges, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Until there is something new to do, or for one nap. */
static void nap(unsigned seen)
{
    bool lease = atomic_load(&has_lease_held);
    struct timespec wait = {0, has_sm_pending()   ? PENDING_NAP_NS
                               : lease            ? LEASE_NAP_NS
                               : has_meter_busy() ? BUSY_NAP_NS
                                                  : IDLE_NAP_NS};
    syscall(SYS_futex, &nudges, FUTEX_WAIT_PRIVATE, seen, &wait, NULL, 0);
}

static void helper(void)
{
    bool is_current = false;
    uint64_t looked_at = 0;
    prctl(PR_SET_TIMERSLACK, 1000); /* of this thread: its naps are to end in time */
    while (!atomic_load(&leaving)) {
        unsigned seen = atomic_load(&nudges);
        help(&is_current, &looked_at);
        nap(seen);
    }
}

static void leave(void)
{
    struct timespec wait = {0, 1000000};
    atomic_store(&leaving, true);
    for (int i = 0; i < LEAVE_PATIENCE && atomic_load(&threads) > 0; i++)
        nanosleep(&wait, NULL);
    has_lease_release();
    has_usage_leave();
}

bool has_leaving(void)
{
    return atomic_load(&leaving);
}

static void *run_thread(void *run)
{
    ((void (*)(void))run)();
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

bool has_thread_start(void (*run)(void), size_t stack_bytes)
{
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, old;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, stack_bytes);
    /* The program's signals are for the program's threads. */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    atomic_fetch_add(&threads, 1);
    bool started = pthread_create(&thread, &attributes, run_thread, (void *)run) == 0;
    if (!started)
        atomic_fetch_sub(&threads, 1);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

static void after_fork(void)
{
    pthread_mutex_init(&starting, NULL);
    atomic_store(&context, NULL);
    atomic_store(&has_captures, 0);
    atomic_store(&threads, 0);
    has_meter_after_fork();
    has_lane_after_fork();
    has_sm_after_fork();
    has_lease_after_fork();
    has_ledger_reset();
    if (wanted) {
        has_usage_after_fork();
        has_limits_after_fork();
    }
    /* The helper starts again with the child's first CUDA call. */
    atomic_store(&has_started, false);
}

static void open_files(void)
{
    const char *folder = getenv("KSERVE_HAS_DIR");
    wanted = folder && folder[0];
    if (!wanted)
        return;
    has_lease_file_folder(getenv("KSERVE_HAS_LEASES"));
    has_usage_open(folder);
    has_limits_open(folder);
    atexit(leave);
}

bool has_start_slow(void)
{
    if (!has_real_find())
        return false;
    pthread_mutex_lock(&starting);
    if (!atomic_load(&has_started)) {
        if (!forked_hook) {
            pthread_atfork(NULL, NULL, after_fork);
            open_files();
            forked_hook = true;
        }
        if (wanted)
            has_thread_start(helper, 256 * 1024);
        atomic_store_explicit(&has_started, true, memory_order_release);
    }
    pthread_mutex_unlock(&starting);
    return true;
}

void has_start_with(CUcontext primary, CUdevice device)
{
    (void)device;
    atomic_store(&context, primary);
    has_sm_context(primary);
    if (has_limits_now())
        has_sm_apply();
}
