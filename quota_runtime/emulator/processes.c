/* Which processes use a GPU, and what is left of those that died. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine.h"

#define REAP_PERIOD_NS 100000000ll

/* Field 22 of /proc/PID/stat; 0 when there is no such process or only its zombie is left. */
static uint64_t start_time_of(uint32_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    char *field = strrchr(text, ')'); /* the command may hold spaces and parentheses */
    if (!field || field[1] != ' ' || field[2] == 'Z' || field[2] == 'X')
        return 0;
    field += 2;
    for (int i = 3; i < 22 && field; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

static uint64_t own_pid_namespace(void)
{
    struct stat found;
    return stat("/proc/self/ns/pid", &found) == 0 ? found.st_ino : 0;
}

static bool is_dead(const struct emu_process *process, uint64_t own_namespace)
{
    if (process->pid == 0 || process->pid_namespace != own_namespace)
        return false;
    if (kill((pid_t)process->pid, 0) != 0 && errno == ESRCH)
        return true;
    return start_time_of(process->pid) != process->start_time;
}

static void drop_if_same(struct gpu *gpu, uint32_t slot, const struct emu_process *dead)
{
    machine_lock(gpu);
    const struct emu_process *now = &gpu->shared->processes[slot];
    if (now->pid == dead->pid && now->start_time == dead->start_time) {
        machine_refresh(gpu); /* what it did until now took place */
        engine_drop_process(gpu->shared, slot);
    }
    machine_unlock(gpu);
}

void machine_reap(struct gpu *gpu, bool at_once)
{
    int64_t now = machine_monotonic_ns();
    int64_t last = __atomic_load_n(&gpu->shared->reaped_ns, __ATOMIC_RELAXED);
    if (!at_once && now - last < REAP_PERIOD_NS && now >= last)
        return;
    __atomic_store_n(&gpu->shared->reaped_ns, now, __ATOMIC_RELAXED);
    uint64_t own_namespace = own_pid_namespace();
    for (uint32_t slot = 0; slot < EMU_PROCESSES; slot++) {
        struct emu_process process = gpu->shared->processes[slot];
        if (is_dead(&process, own_namespace))
            drop_if_same(gpu, slot, &process);
    }
}

static bool take_slot(struct gpu *gpu)
{
    uint64_t start_time = start_time_of((uint32_t)getpid()), pid_namespace = own_pid_namespace();
    machine_lock(gpu);
    for (uint32_t slot = 0; slot < EMU_PROCESSES && !gpu->attached; slot++) {
        struct emu_process *process = &gpu->shared->processes[slot];
        if (process->pid)
            continue;
        *process = (struct emu_process){.start_time = start_time, .pid_namespace = pid_namespace};
        process->pid = (uint32_t)getpid();
        gpu->process = slot;
        gpu->attached = true;
    }
    machine_unlock(gpu);
    return gpu->attached;
}

bool machine_attach(struct gpu *gpu)
{
    static pthread_mutex_t attaching = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&attaching);
    if (!gpu->attached) {
        machine_reap(gpu, true);
        take_slot(gpu);
    }
    pthread_mutex_unlock(&attaching);
    return gpu->attached;
}
