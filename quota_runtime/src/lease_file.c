#include "lease_file.h"

#include <fcntl.h>
#include <immintrin.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "say.h"
#include "state.h"

struct has_leases *_Atomic has_leases_now;

static atomic_flag claim = ATOMIC_FLAG_INIT;
static char folder[192], path[256];
static struct stat seen; /* of the file that was looked at last, good or not */
static bool complained;

static void complain(const char *words)
{
    HAS_COUNT(lease_faults, 1);
    if (complained)
        return;
    complained = true;
    has_say("kserve-has: %s %s; pods take turns without leases\n", path, words);
}

static const char *what_is_wrong(const struct has_leases *file, const char *gpu_uuid)
{
    if (file->magic != HAS_LEASES_MAGIC)
        return "is not a lease file";
    if (file->abi_version != HAS_ABI_VERSION || file->size != HAS_LEASES_SIZE)
        return "is of another version";
    if (strncmp(file->gpu_uuid, gpu_uuid, sizeof(file->gpu_uuid)) != 0)
        return "belongs to another GPU";
    return NULL;
}

static struct has_leases *map(int file, const char *gpu_uuid)
{
    if (fstat(file, &seen) != 0 || seen.st_size != (off_t)HAS_LEASES_SIZE) {
        complain("has another size");
        return NULL;
    }
    void *mapped = mmap(NULL, HAS_LEASES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        complain("cannot be mapped");
        return NULL;
    }
    const char *wrong = what_is_wrong(mapped, gpu_uuid);
    if (!wrong)
        return mapped;
    complain(wrong);
    munmap(mapped, HAS_LEASES_SIZE);
    return NULL;
}

void has_lease_file_folder(const char *name)
{
    int length = snprintf(folder, sizeof(folder), "%s", name ? name : "");
    if (length < 0 || (size_t)length >= sizeof(folder))
        folder[0] = '\0';
}

static bool name_path(const char *gpu_uuid)
{
    if (!folder[0] || strchr(gpu_uuid, '/'))
        return false;
    int length = snprintf(path, sizeof(path), "%s/%s", folder, gpu_uuid);
    return length > 0 && (size_t)length < sizeof(path);
}

/* With the claim. */
static bool changed(void)
{
    struct stat now;
    return path[0] && stat(path, &now) == 0 &&
           (now.st_ino != seen.st_ino || now.st_dev != seen.st_dev);
}

/* With the claim. */
static void look(const char *gpu_uuid)
{
    if ((!path[0] && !name_path(gpu_uuid)) || !changed())
        return;
    int file = open(path, O_RDWR | O_CLOEXEC);
    struct has_leases *mapped = NULL;
    if (file >= 0) {
        mapped = map(file, gpu_uuid);
        close(file);
    } else if (stat(path, &seen) == 0) {
        complain("cannot be opened");
    }
    /* An older mapping stays: another thread may be looking at it. Files are replaced rarely. */
    atomic_store(&has_leases_now, mapped);
}

bool has_lease_file_changed(void)
{
    if (atomic_flag_test_and_set_explicit(&claim, memory_order_acquire))
        return false;
    bool found = changed();
    atomic_flag_clear_explicit(&claim, memory_order_release);
    return found;
}

bool has_lease_file_open(const char *gpu_uuid)
{
    /* Held for some system calls at most. */
    while (atomic_flag_test_and_set_explicit(&claim, memory_order_acquire))
        _mm_pause();
    look(gpu_uuid);
    atomic_flag_clear_explicit(&claim, memory_order_release);
    return atomic_load(&has_leases_now) != NULL;
}

void has_lease_file_after_fork(void)
{
    atomic_flag_clear(&claim);
}
