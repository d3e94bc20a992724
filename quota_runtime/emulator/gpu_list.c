#include "gpu_list.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define UUID_BYTES 48

static void complain(const char *path, const char *what)
{
    fprintf(stderr, "emulated GPU: %s: %s\n", path, what);
}

/* The mutex lives in the file: exactly one process makes it. */
static void init_once(int fd, struct emu_gpu *gpu)
{
    flock(fd, LOCK_EX);
    if (!gpu->ready) {
        pthread_mutexattr_t attributes;
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        pthread_mutex_init(&gpu->lock, &attributes);
        pthread_mutexattr_destroy(&attributes);
        __atomic_store_n(&gpu->ready, 1, __ATOMIC_RELEASE);
    }
    flock(fd, LOCK_UN);
}

static struct emu_gpu *map_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat found;
    if (fd < 0 || fstat(fd, &found) != 0) {
        complain(path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    struct emu_gpu *gpu = MAP_FAILED;
    if (found.st_size >= (off_t)sizeof *gpu)
        gpu = mmap(NULL, sizeof *gpu, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (gpu == MAP_FAILED) {
        complain(path, "too small or not mappable");
    } else if (gpu->magic != EMU_MAGIC || gpu->layout != EMU_LAYOUT ||
               gpu->sm_count > EMU_SM_WORDS * 64 || gpu->sm_group_size == 0) {
        complain(path, "not an emulated GPU of this version");
        munmap(gpu, sizeof *gpu);
        gpu = MAP_FAILED;
    } else {
        init_once(fd, gpu);
    }
    close(fd);
    return gpu == MAP_FAILED ? NULL : gpu;
}

static char *read_text(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        complain(path, strerror(errno));
        return NULL;
    }
    char *text = NULL;
    size_t size = 0;
    if (getdelim(&text, &size, '\0', file) < 0) {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

/* The next value of "uuid" in gpus.json, which make_gpus.py wrote; NULL at the end. */
static const char *next_uuid(const char *text, char *uuid)
{
    const char *key = strstr(text, "\"uuid\"");
    const char *colon = key ? strchr(key + 6, ':') : NULL;
    const char *start = colon ? strchr(colon, '"') : NULL;
    const char *end = start ? strchr(start + 1, '"') : NULL;
    if (!end || end - start - 1 >= UUID_BYTES)
        return NULL;
    memcpy(uuid, start + 1, (size_t)(end - start - 1));
    uuid[end - start - 1] = '\0';
    return end + 1;
}

/* Is GPU number `index` called `uuid` in the comma-separated list? Indices count too. */
static bool is_visible(const char *list, const char *uuid, int index)
{
    if (!list || strcmp(list, "all") == 0)
        return true;
    char number[16];
    snprintf(number, sizeof number, "%d", index);
    for (const char *item = list; *item;) {
        size_t length = strcspn(item, ",");
        if ((strlen(uuid) == length && strncmp(item, uuid, length) == 0) ||
            (strlen(number) == length && strncmp(item, number, length) == 0))
            return true;
        item += length + (item[length] == ',');
    }
    return false;
}

int gpu_list_open(struct emu_gpu **gpus, int limit)
{
    const char *folder = getenv("KSERVE_HAS_EMULATED_GPUS");
    const char *visible = getenv("NVIDIA_VISIBLE_DEVICES");
    char path[PATH_MAX], uuid[UUID_BYTES];
    if (!folder)
        return 0;
    snprintf(path, sizeof path, "%s/gpus.json", folder);
    char *text = read_text(path);
    int count = 0, index = 0;
    for (const char *at = text; at && count < limit && (at = next_uuid(at, uuid)); index++) {
        if (!is_visible(visible, uuid, index))
            continue;
        snprintf(path, sizeof path, "%s/%s.gpu", folder, uuid);
        struct emu_gpu *gpu = map_file(path);
        if (gpu)
            gpus[count++] = gpu;
    }
    free(text);
    return count;
}
