/* The usage file: this process's slot, and what the processes of a pod share. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state.h"
#include "usage.h"

#define CLAIMING 2u
#define SILENT_NS 2000000000ll /* a slot of a dead process is taken over after this long */

struct usage_file {
    struct has_usage_header header;
    struct has_usage_slot slots[HAS_USAGE_SLOTS];
};

static struct usage_file private_file;
static struct usage_file *_Atomic file_now = &private_file;
static struct has_usage_slot *_Atomic slot_now = &private_file.slots[0];

struct has_usage_slot *has_slot(void)
{
    return atomic_load_explicit(&slot_now, memory_order_acquire);
}

struct has_usage_header *has_usage(void)
{
    return &atomic_load_explicit(&file_now, memory_order_acquire)->header;
}

uint64_t has_start_time(void)
{
    char text[1024];
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, text, sizeof(text) - 1);
    close(file);
    if (length <= 0)
        return 0;
    text[length] = '\0';
    return has_start_time_in(text);
}

/* Field 22, counted after the name, which may hold blanks and brackets. */
uint64_t has_start_time_in(const char *stat)
{
    const char *at = strrchr(stat, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    unsigned long long value = 0;
    return at && sscanf(at, " %llu", &value) == 1 ? value : 0;
}

static bool ready_header(struct has_usage_header *header)
{
    uint64_t magic = __atomic_load_n(&header->magic, __ATOMIC_ACQUIRE);
    if (magic == 0) {
        /* Several processes may do this at once; all write the same. */
        __atomic_store_n(&header->abi_version, HAS_ABI_VERSION, __ATOMIC_RELAXED);
        __atomic_store_n(&header->slots, HAS_USAGE_SLOTS, __ATOMIC_RELAXED);
        __atomic_store_n(&header->magic, HAS_USAGE_MAGIC, __ATOMIC_RELEASE);
        return true;
    }
    return magic == HAS_USAGE_MAGIC &&
           __atomic_load_n(&header->abi_version, __ATOMIC_RELAXED) == HAS_ABI_VERSION;
}

static bool is_dead(const struct has_usage_slot *slot)
{
    uint32_t owner = __atomic_load_n(&slot->pid, __ATOMIC_RELAXED);
    int64_t silent = (int64_t)has_now_ns() - __atomic_load_n(&slot->heartbeat_ns, __ATOMIC_RELAXED);
    return silent > SILENT_NS && kill((pid_t)owner, 0) != 0 && errno == ESRCH;
}

/* From one state to CLAIMING, with what the slot still held given back. */
static bool take_over(struct usage_file *file, struct has_usage_slot *slot, uint32_t state)
{
    if (!__atomic_compare_exchange_n(&slot->state, &state, CLAIMING, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return false;
    uint64_t left_over = __atomic_exchange_n(&slot->memory_bytes, 0, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&file->header.memory_bytes, left_over, __ATOMIC_RELAXED);
    return true;
}

void has_usage_reap(void)
{
    struct usage_file *file = atomic_load_explicit(&file_now, memory_order_acquire);
    for (uint32_t i = 0; i < HAS_USAGE_SLOTS; i++) {
        struct has_usage_slot *slot = &file->slots[i];
        if (slot != has_slot() && __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == HAS_SLOT_LIVE &&
            is_dead(slot) && take_over(file, slot, HAS_SLOT_LIVE))
            __atomic_store_n(&slot->state, HAS_SLOT_FREE, __ATOMIC_RELEASE);
    }
}

bool has_usage_under_lease(int64_t after_ns)
{
    struct usage_file *file = atomic_load_explicit(&file_now, memory_order_acquire);
    for (uint32_t i = 0; i < HAS_USAGE_SLOTS; i++) {
        struct has_usage_slot *slot = &file->slots[i];
        if (slot != has_slot() && __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE) == HAS_SLOT_LIVE &&
            __atomic_load_n(&slot->lease_at_ns, __ATOMIC_SEQ_CST) > after_ns)
            return true;
    }
    return false;
}

static bool claim(struct usage_file *file, struct has_usage_slot *slot, uint32_t pid,
                  uint64_t start)
{
    uint32_t state = __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
    /* An earlier program of this process, or a dead one of the same number, is gone as well. */
    bool gone = __atomic_load_n(&slot->pid, __ATOMIC_RELAXED) == pid || is_dead(slot);
    if (state == CLAIMING || (state == HAS_SLOT_LIVE && !gone) || !take_over(file, slot, state))
        return false;
    memset((char *)slot + sizeof(slot->state), 0, sizeof(*slot) - sizeof(slot->state));
    slot->pid = pid;
    slot->start_time = start;
    slot->heartbeat_ns = (int64_t)has_now_ns();
    __atomic_store_n(&slot->state, HAS_SLOT_LIVE, __ATOMIC_RELEASE);
    return true;
}

static struct has_usage_slot *claim_any(struct usage_file *file)
{
    uint32_t pid = (uint32_t)getpid();
    uint64_t start = has_start_time();
    for (uint32_t i = 0; i < HAS_USAGE_SLOTS; i++)
        if (claim(file, &file->slots[i], pid, start))
            return &file->slots[i];
    return NULL;
}

static struct usage_file *map_file(const char *folder)
{
    char path[256];
    int length = snprintf(path, sizeof(path), "%s/usage", folder);
    if (length < 0 || (size_t)length >= sizeof(path))
        return NULL;
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
        return NULL;
    struct stat status;
    void *mapped = MAP_FAILED;
    if (fstat(file, &status) == 0 &&
        (status.st_size >= (off_t)sizeof(struct usage_file) ||
         (fchmod(file, 0666) == 0 && ftruncate(file, sizeof(struct usage_file)) == 0)))
        mapped = mmap(NULL, sizeof(struct usage_file), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    return mapped == MAP_FAILED ? NULL : mapped;
}

void has_usage_open(const char *folder)
{
    struct usage_file *file = map_file(folder);
    if (!file)
        return;
    if (!ready_header(&file->header)) {
        munmap(file, sizeof(*file));
        return;
    }
    struct has_usage_slot *slot = claim_any(file);
    atomic_store_explicit(&file_now, file, memory_order_release);
    if (slot)
        atomic_store_explicit(&slot_now, slot, memory_order_release);
}

void has_usage_after_fork(void)
{
    struct usage_file *file = atomic_load(&file_now);
    memset(&private_file.slots[0], 0, sizeof(private_file.slots[0]));
    atomic_store(&slot_now, &private_file.slots[0]);
    if (file == &private_file)
        return;
    struct has_usage_slot *slot = claim_any(file);
    if (slot)
        atomic_store(&slot_now, slot);
}

void has_usage_leave(void)
{
    struct usage_file *file = atomic_load(&file_now);
    struct has_usage_slot *slot = has_slot();
    atomic_store(&slot_now, &private_file.slots[0]);
    if (file == &private_file || slot == &private_file.slots[0])
        return;
    __atomic_fetch_sub(&file->header.memory_bytes,
                       __atomic_exchange_n(&slot->memory_bytes, 0, __ATOMIC_RELAXED),
                       __ATOMIC_RELAXED);
    __atomic_store_n(&slot->state, HAS_SLOT_FREE, __ATOMIC_RELEASE);
}
