/* The limits file: mapped once it is there, read again when its sequence number moves. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease.h"
#include "limits.h"
#include "limits_block.h"
#include "say.h"
#include "state.h"

#define TORN_PATIENCE_NS 100000000ull
#define STALE_WRITE_NS 10000000000ull
#define VIEWS 64u /* a reader holds a view for one call; this many changes do not fit in one */

_Atomic(const struct has_view *) has_view_now;
const uint32_t *_Atomic has_limits_seq;
_Atomic uint32_t has_limits_seen = 1; /* odd: never equal to a finished write */

static struct has_view views[VIEWS];
static unsigned next_view;
static const struct has_limits *_Atomic block;
static ino_t block_inode;
static char path[256];
static atomic_flag busy = ATOMIC_FLAG_INIT;
static bool complained;

/* One line in the life of a process: the program's stderr is not ours. */
static void complain(enum has_block_state state)
{
    static const char *const words[] = {
        [HAS_BLOCK_TORN] = "has a write that never ends",
        [HAS_BLOCK_FOREIGN] = "is of another version",
        [HAS_BLOCK_BAD] = "has limits that make no sense",
    };
    if (complained)
        return;
    complained = true;
    has_say("kserve-has: %s %s; last good limits kept\n", path, words[state]);
}

/* Whether the pod shares its SMs through leases; without them it keeps to its turn in the window. */
static bool is_leased(const struct has_limits *limits)
{
    bool may_borrow = limits->flags & HAS_FLAG_BURST && limits->quota_permille < 1000;
    return has_lease_apply(limits->gpu_uuid, limits->lease_slot) && limits->flags & HAS_FLAG_TIME &&
           (limits->lease_conflicts || may_borrow);
}

/* What is read anew, or for the first time, says nothing of how soon a write is noticed. */
static void note_delay(const struct has_view *before, const struct has_limits *limits)
{
    uint64_t delay = has_now_ns() - (uint64_t)limits->written_at_ns;
    if (before && before->epoch != limits->epoch && delay < STALE_WRITE_NS)
        HAS_COUNT(notice_ns, delay);
}

static void publish(const struct has_limits *limits)
{
    struct has_view *view = &views[next_view++ % VIEWS];
    bool leased = is_leased(limits);
    *view = (struct has_view){
        .epoch = limits->epoch,
        .flags = (limits->flags & ~HAS_VIEW_LEASED) | (leased ? HAS_VIEW_LEASED : 0),
        .quota_permille = limits->quota_permille,
        .window_ns = limits->window_ns,
        .max_outstanding_ns = limits->max_outstanding_ns,
        .memory_limit_bytes = limits->memory_limit_bytes,
        .phase_ns = leased ? 0 : limits->phase_ns,
        .groups = {{limits->sm_groups[0], limits->sm_groups[1]}},
        .most = {{limits->max_sm_groups[0], limits->max_sm_groups[1]}},
        .group_size = limits->sm_group_size,
        .lease_slot = leased ? limits->lease_slot : 0,
        .mine = leased ? 1ull << limits->lease_slot : 0,
        .conflicts = limits->lease_conflicts,
        .slice_ns = limits->lease_slice_ns,
    };
    for (unsigned i = 0; i < HAS_NEXT; i++)
        view->next[i] = (struct has_groups){
            {limits->next_sm_groups[i][0], limits->next_sm_groups[i][1]}};
    note_delay(atomic_load(&has_view_now), limits);
    atomic_store_explicit(&has_view_now, view, memory_order_release);
    has_sm_apply();
}

/* A writer that lost its processor half way comes back; until then every call looks again. */
static bool may_still_end(const struct has_limits *from)
{
    static uint32_t torn_seq;
    static uint64_t torn_since_ns;
    uint32_t seq = __atomic_load_n(&from->seq, __ATOMIC_ACQUIRE);
    uint64_t now = has_now_ns();
    if (seq != torn_seq) {
        torn_seq = seq;
        torn_since_ns = now;
    }
    return now - torn_since_ns < TORN_PATIENCE_NS;
}

static void read_block(void)
{
    const struct has_limits *from = atomic_load(&block);
    struct has_limits copy;
    enum has_block_state state = has_block_read(from, &copy);
    if (state == HAS_BLOCK_TORN && may_still_end(from))
        return;
    uint32_t seen = state == HAS_BLOCK_TORN ? __atomic_load_n(&from->seq, __ATOMIC_ACQUIRE)
                                            : copy.seq;
    if (state == HAS_BLOCK_GOOD) {
        publish(&copy);
    } else {
        HAS_COUNT(faults, 1);
        complain(state);
    }
    atomic_store_explicit(&has_limits_seen, seen, memory_order_release);
}

void has_limits_refresh(void)
{
    if (!atomic_load(&block) || atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        return;
    const struct has_limits *from = atomic_load(&block);
    if (__atomic_load_n(&from->seq, __ATOMIC_ACQUIRE) != atomic_load(&has_limits_seen))
        read_block();
    atomic_flag_clear_explicit(&busy, memory_order_release);
}

static void map_file(int file, ino_t inode)
{
    void *mapped = mmap(NULL, HAS_LIMITS_SIZE, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED)
        return;
    /* An older mapping stays: another thread may be reading it. Files are replaced rarely. */
    const struct has_limits *fresh = mapped;
    block_inode = inode;
    atomic_store(&block, fresh);
    atomic_store(&has_limits_seen, ~__atomic_load_n(&fresh->seq, __ATOMIC_ACQUIRE));
    atomic_store_explicit(&has_limits_seq, &fresh->seq, memory_order_release);
}

void has_limits_look(void)
{
    struct stat status;
    if (!path[0] || stat(path, &status) != 0 || status.st_size < (off_t)HAS_LIMITS_SIZE)
        return;
    if (!atomic_load(&block) || status.st_ino != block_inode) {
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0)
            return;
        map_file(file, status.st_ino);
        close(file);
    }
    has_limits_refresh();
}

void has_limits_open(const char *folder)
{
    int length = snprintf(path, sizeof(path), "%s/limits", folder);
    if (length < 0 || (size_t)length >= sizeof(path))
        path[0] = '\0';
    has_limits_look();
}

void has_limits_reread(void)
{
    if (atomic_load(&block))
        atomic_store(&has_limits_seen, ~__atomic_load_n(&atomic_load(&block)->seq, __ATOMIC_ACQUIRE));
}

void has_limits_after_fork(void)
{
    atomic_flag_clear(&busy);
    /* Puts the limits in force again, in the child's own slot. */
    has_limits_reread();
}
