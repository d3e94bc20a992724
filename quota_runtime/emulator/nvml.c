/* libnvidia-ml.so.1 on the emulated GPUs: inventory, memory, utilisation, processes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "machine.h"

#define EXPORT __attribute__((visibility("default")))
#define DRIVER_VERSION "580.65.06"
#define CUDA_VERSION 13000
#define CORES_PER_SM 128u
#define MEBIBYTE (1ull << 20)
#define MEMORY_V2 0x02000028u
#define SAMPLE_NS 100000000ll /* utilisation is that of at least the last 100 ms */

typedef enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_SUPPORTED = 3,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
} nvml_result;

struct memory_v1 {
    unsigned long long total, free, used;
};

struct memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct utilization {
    unsigned gpu, memory;
};

struct process_info {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
};

struct attributes {
    unsigned sm_count, copy_engines, decoders, encoders, jpeg, ofa, gpu_slices, compute_slices;
    unsigned long long memory_mib;
};

/* What the GPU had done when utilisation was asked for before. */
static struct sample {
    int64_t at_ns;
    int64_t busy_ns;
    unsigned percent;
} samples[MACHINE_MAX_GPUS];
static int initialised;

static bool is_gpu(const struct gpu *gpu)
{
    struct gpu *gpus;
    int count = machine_gpus(&gpus);
    return gpu >= gpus && gpu < gpus + count;
}

static nvml_result check(const struct gpu *gpu, const void *out)
{
    if (!initialised)
        return NVML_ERROR_UNINITIALIZED;
    return out && is_gpu(gpu) ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

static nvml_result put_text(char *to, unsigned length, const char *text)
{
    if (!to)
        return NVML_ERROR_INVALID_ARGUMENT;
    if (strlen(text) >= length)
        return NVML_ERROR_INSUFFICIENT_SIZE;
    strcpy(to, text);
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlInitWithFlags(unsigned flags);
nvml_result nvmlInitWithFlags(unsigned flags)
{
    struct gpu *gpus;
    (void)flags;
    machine_gpus(&gpus);
    __atomic_add_fetch(&initialised, 1, __ATOMIC_ACQ_REL);
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlInit_v2(void);
nvml_result nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT nvml_result nvmlShutdown(void);
nvml_result nvmlShutdown(void)
{
    if (!initialised)
        return NVML_ERROR_UNINITIALIZED;
    __atomic_sub_fetch(&initialised, 1, __ATOMIC_ACQ_REL);
    return NVML_SUCCESS;
}

EXPORT const char *nvmlErrorString(nvml_result result);
const char *nvmlErrorString(nvml_result result)
{
    switch (result) {
    case NVML_SUCCESS:
        return "Success";
    case NVML_ERROR_UNINITIALIZED:
        return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT:
        return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED:
        return "Not Supported";
    case NVML_ERROR_NOT_FOUND:
        return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE:
        return "Insufficient Size";
    }
    return "Unknown Error";
}

EXPORT nvml_result nvmlSystemGetDriverVersion(char *version, unsigned length);
nvml_result nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    return put_text(version, length, DRIVER_VERSION);
}

EXPORT nvml_result nvmlSystemGetCudaDriverVersion_v2(int *version);
nvml_result nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    if (!version)
        return NVML_ERROR_INVALID_ARGUMENT;
    *version = CUDA_VERSION;
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlDeviceGetCount_v2(unsigned *count);
nvml_result nvmlDeviceGetCount_v2(unsigned *count)
{
    struct gpu *gpus;
    if (!initialised || !count)
        return initialised ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_UNINITIALIZED;
    *count = (unsigned)machine_gpus(&gpus);
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **gpu);
nvml_result nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **gpu)
{
    struct gpu *gpus;
    if (!initialised)
        return NVML_ERROR_UNINITIALIZED;
    if (!gpu || index >= (unsigned)machine_gpus(&gpus))
        return NVML_ERROR_INVALID_ARGUMENT;
    *gpu = &gpus[index];
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlDeviceGetHandleByUUID(const char *uuid, struct gpu **gpu);
nvml_result nvmlDeviceGetHandleByUUID(const char *uuid, struct gpu **gpu)
{
    struct gpu *gpus;
    if (!initialised)
        return NVML_ERROR_UNINITIALIZED;
    int count = machine_gpus(&gpus);
    for (int i = 0; uuid && gpu && i < count; i++)
        if (strcmp(gpus[i].shared->uuid, uuid) == 0) {
            *gpu = &gpus[i];
            return NVML_SUCCESS;
        }
    return uuid && gpu ? NVML_ERROR_NOT_FOUND : NVML_ERROR_INVALID_ARGUMENT;
}

EXPORT nvml_result nvmlDeviceGetIndex(const struct gpu *gpu, unsigned *index);
nvml_result nvmlDeviceGetIndex(const struct gpu *gpu, unsigned *index)
{
    nvml_result result = check(gpu, index);
    if (result == NVML_SUCCESS)
        *index = (unsigned)gpu->ordinal;
    return result;
}

EXPORT nvml_result nvmlDeviceGetMinorNumber(const struct gpu *gpu, unsigned *minor);
nvml_result nvmlDeviceGetMinorNumber(const struct gpu *gpu, unsigned *minor)
{
    return nvmlDeviceGetIndex(gpu, minor);
}

EXPORT nvml_result nvmlDeviceGetUUID(const struct gpu *gpu, char *uuid, unsigned length);
nvml_result nvmlDeviceGetUUID(const struct gpu *gpu, char *uuid, unsigned length)
{
    nvml_result result = check(gpu, uuid);
    return result == NVML_SUCCESS ? put_text(uuid, length, gpu->shared->uuid) : result;
}

EXPORT nvml_result nvmlDeviceGetName(const struct gpu *gpu, char *name, unsigned length);
nvml_result nvmlDeviceGetName(const struct gpu *gpu, char *name, unsigned length)
{
    nvml_result result = check(gpu, name);
    return result == NVML_SUCCESS ? put_text(name, length, gpu->shared->product) : result;
}

EXPORT nvml_result nvmlDeviceGetMemoryInfo(struct gpu *gpu, struct memory_v1 *memory);
nvml_result nvmlDeviceGetMemoryInfo(struct gpu *gpu, struct memory_v1 *memory)
{
    nvml_result result = check(gpu, memory);
    if (result != NVML_SUCCESS)
        return result;
    machine_reap(gpu, true);
    memory->total = gpu->shared->memory_bytes;
    memory->used = __atomic_load_n(&gpu->shared->memory_used, __ATOMIC_RELAXED);
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlDeviceGetMemoryInfo_v2(struct gpu *gpu, struct memory_v2 *memory);
nvml_result nvmlDeviceGetMemoryInfo_v2(struct gpu *gpu, struct memory_v2 *memory)
{
    struct memory_v1 plain;
    if (!memory || memory->version != MEMORY_V2)
        return NVML_ERROR_INVALID_ARGUMENT;
    nvml_result result = nvmlDeviceGetMemoryInfo(gpu, &plain);
    if (result == NVML_SUCCESS)
        *memory = (struct memory_v2){MEMORY_V2, plain.total, 0, plain.free, plain.used};
    return result;
}

/* Share of the time in which at least one kernel ran, as NVML defines it. */
EXPORT nvml_result nvmlDeviceGetUtilizationRates(struct gpu *gpu, struct utilization *rates);
nvml_result nvmlDeviceGetUtilizationRates(struct gpu *gpu, struct utilization *rates)
{
    nvml_result result = check(gpu, rates);
    if (result != NVML_SUCCESS)
        return result;
    struct sample *before = &samples[gpu->ordinal];
    machine_lock(gpu);
    machine_refresh(gpu);
    int64_t now = gpu->shared->at_ns, busy = gpu->shared->busy_ns;
    if (now - before->at_ns >= SAMPLE_NS) {
        if (before->at_ns)
            before->percent =
                (unsigned)((busy - before->busy_ns) * 100 / (now - before->at_ns));
        before->at_ns = now;
        before->busy_ns = busy;
    }
    *rates = (struct utilization){before->percent, 0};
    machine_unlock(gpu);
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *gpu, unsigned *count,
                                                           struct process_info *processes);
nvml_result nvmlDeviceGetComputeRunningProcesses_v3(struct gpu *gpu, unsigned *count,
                                                    struct process_info *processes)
{
    nvml_result result = check(gpu, count);
    if (result != NVML_SUCCESS)
        return result;
    unsigned found = 0, room = processes ? *count : 0;
    machine_reap(gpu, true);
    machine_lock(gpu);
    for (int i = 0; i < EMU_PROCESSES; i++) {
        const struct emu_process *process = &gpu->shared->processes[i];
        if (!process->pid)
            continue;
        if (found < room)
            processes[found] = (struct process_info){process->pid, process->memory_bytes, ~0u, ~0u};
        found++;
    }
    machine_unlock(gpu);
    *count = found;
    return found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

EXPORT nvml_result nvmlDeviceGetAttributes_v2(const struct gpu *gpu, struct attributes *found);
nvml_result nvmlDeviceGetAttributes_v2(const struct gpu *gpu, struct attributes *found)
{
    nvml_result result = check(gpu, found);
    if (result == NVML_SUCCESS)
        *found = (struct attributes){.sm_count = gpu->shared->sm_count,
                                     .memory_mib = gpu->shared->memory_bytes / MEBIBYTE};
    return result;
}

EXPORT nvml_result nvmlDeviceGetNumGpuCores(const struct gpu *gpu, unsigned *cores);
nvml_result nvmlDeviceGetNumGpuCores(const struct gpu *gpu, unsigned *cores)
{
    nvml_result result = check(gpu, cores);
    if (result == NVML_SUCCESS)
        *cores = gpu->shared->sm_count * CORES_PER_SM;
    return result;
}

EXPORT nvml_result nvmlDeviceGetCudaComputeCapability(const struct gpu *gpu, int *major,
                                                      int *minor);
nvml_result nvmlDeviceGetCudaComputeCapability(const struct gpu *gpu, int *major, int *minor)
{
    nvml_result result = check(gpu, major);
    if (result != NVML_SUCCESS || !minor)
        return minor ? result : NVML_ERROR_INVALID_ARGUMENT;
    *major = 9;
    *minor = 0;
    return NVML_SUCCESS;
}

EXPORT nvml_result nvmlDeviceGetMigMode(const struct gpu *gpu, unsigned *now, unsigned *pending);
nvml_result nvmlDeviceGetMigMode(const struct gpu *gpu, unsigned *now, unsigned *pending)
{
    nvml_result result = check(gpu, now);
    if (result != NVML_SUCCESS || !pending)
        return pending ? result : NVML_ERROR_INVALID_ARGUMENT;
    *now = *pending = 0;
    return NVML_SUCCESS;
}
