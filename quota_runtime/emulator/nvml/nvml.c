/* The emulated libnvidia-ml.so.1: what node agents ask of a GPU, read from its shared file. */
#include <stdio.h>
#include <string.h>

#include "../machine.h"

/* Numbers and layouts of NVML's public interface. */
enum {
    NVML_SUCCESS = 0,
    NVML_ERROR_UNINITIALIZED = 1,
    NVML_ERROR_INVALID_ARGUMENT = 2,
    NVML_ERROR_NOT_FOUND = 6,
    NVML_ERROR_INSUFFICIENT_SIZE = 7,
    NVML_ERROR_DRIVER_NOT_LOADED = 9,
};

typedef int nvmlReturn_t;
typedef struct gpu *nvmlDevice_t;

struct nvml_memory {
    unsigned long long total, free, used;
};

struct nvml_memory_v2 {
    unsigned version;
    unsigned long long total, reserved, free, used;
};

struct nvml_utilization {
    unsigned gpu, memory;
};

struct nvml_process {
    unsigned pid;
    unsigned long long used_bytes;
    unsigned gpu_instance, compute_instance;
};

#define EXPORT __attribute__((visibility("default")))
#define DRIVER_VERSION "580.159.04"
#define NVML_VERSION "13.580.159.04"
#define CUDA_VERSION 13000
#define CORES_PER_SM 128u
#define NOT_AN_INSTANCE 0xffffffffu

static struct gpu *gpus;
static int gpu_count;
static int users;
static struct {
    int64_t at_ns, busy_ns;
} sampled[MACHINE_MAX_GPUS];

static nvmlReturn_t check(nvmlDevice_t device, const void *answer)
{
    if (!users)
        return NVML_ERROR_UNINITIALIZED;
    bool known = device >= gpus && device < gpus + gpu_count;
    return known && answer ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
}

static nvmlReturn_t put(char *text, unsigned length, const char *value)
{
    if (!text)
        return NVML_ERROR_INVALID_ARGUMENT;
    int needed = snprintf(text, length, "%s", value);
    return (unsigned)needed < length ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}

EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    gpu_count = machine_gpus(&gpus);
    if (gpu_count <= 0)
        return NVML_ERROR_DRIVER_NOT_LOADED;
    users++;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

EXPORT nvmlReturn_t nvmlShutdown(void)
{
    if (!users)
        return NVML_ERROR_UNINITIALIZED;
    users--;
    return NVML_SUCCESS;
}

EXPORT const char *nvmlErrorString(nvmlReturn_t result)
{
    switch (result) {
    case NVML_SUCCESS:
        return "The operation was successful";
    case NVML_ERROR_UNINITIALIZED:
        return "NVML was not initialised";
    case NVML_ERROR_INVALID_ARGUMENT:
        return "An argument is invalid";
    case NVML_ERROR_NOT_FOUND:
        return "No such GPU";
    case NVML_ERROR_INSUFFICIENT_SIZE:
        return "The buffer is too small";
    case NVML_ERROR_DRIVER_NOT_LOADED:
        return "There is no emulated GPU";
    default:
        return "Unknown error";
    }
}

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *text, unsigned length)
{
    return users ? put(text, length, DRIVER_VERSION) : NVML_ERROR_UNINITIALIZED;
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *text, unsigned length)
{
    return users ? put(text, length, NVML_VERSION) : NVML_ERROR_UNINITIALIZED;
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    if (!users || !version)
        return users ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_UNINITIALIZED;
    *version = CUDA_VERSION;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    if (!users || !count)
        return users ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_UNINITIALIZED;
    *count = (unsigned)gpu_count;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    if (!users)
        return NVML_ERROR_UNINITIALIZED;
    if (!device || index >= (unsigned)gpu_count)
        return NVML_ERROR_INVALID_ARGUMENT;
    *device = &gpus[index];
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    if (!users || !uuid || !device)
        return users ? NVML_ERROR_INVALID_ARGUMENT : NVML_ERROR_UNINITIALIZED;
    for (int i = 0; i < gpu_count; i++)
        if (strcmp(gpus[i].shared->uuid, uuid) == 0) {
            *device = &gpus[i];
            return NVML_SUCCESS;
        }
    return NVML_ERROR_NOT_FOUND;
}

EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index)
{
    nvmlReturn_t result = check(device, index);
    if (result == NVML_SUCCESS)
        *index = (unsigned)(device - gpus);
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *text, unsigned length)
{
    nvmlReturn_t result = check(device, text);
    return result == NVML_SUCCESS ? put(text, length, device->shared->uuid) : result;
}

EXPORT nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *text, unsigned length)
{
    nvmlReturn_t result = check(device, text);
    return result == NVML_SUCCESS ? put(text, length, device->shared->product) : result;
}

EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor)
{
    nvmlReturn_t result = check(device, major);
    if (result != NVML_SUCCESS || !minor)
        return result == NVML_SUCCESS ? NVML_ERROR_INVALID_ARGUMENT : result;
    *major = 9;
    *minor = 0;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetNumGpuCores(nvmlDevice_t device, unsigned *cores)
{
    nvmlReturn_t result = check(device, cores);
    if (result == NVML_SUCCESS)
        *cores = device->shared->sm_count * CORES_PER_SM;
    return result;
}

static unsigned long long used_bytes(nvmlDevice_t device)
{
    machine_lock(device);
    machine_reap(device, true);
    unsigned long long used = device->shared->memory_used;
    machine_unlock(device);
    return used;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, struct nvml_memory *memory)
{
    nvmlReturn_t result = check(device, memory);
    if (result != NVML_SUCCESS)
        return result;
    memory->total = device->shared->memory_bytes;
    memory->used = used_bytes(device);
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, struct nvml_memory_v2 *memory)
{
    struct nvml_memory plain;
    nvmlReturn_t result = memory ? nvmlDeviceGetMemoryInfo(device, &plain)
                                 : NVML_ERROR_INVALID_ARGUMENT;
    if (result != NVML_SUCCESS)
        return result;
    memory->total = plain.total;
    memory->reserved = 0;
    memory->free = plain.free;
    memory->used = plain.used;
    return NVML_SUCCESS;
}

/* Share of the time since the last question in which a kernel ran. */
EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device,
                                                  struct nvml_utilization *rates)
{
    nvmlReturn_t result = check(device, rates);
    if (result != NVML_SUCCESS)
        return result;
    machine_lock(device);
    machine_refresh(device);
    int64_t now = device->shared->at_ns, busy = device->shared->busy_ns;
    machine_unlock(device);
    int64_t passed = now - sampled[device - gpus].at_ns;
    int64_t worked = busy - sampled[device - gpus].busy_ns;
    rates->gpu = passed > 0 ? (unsigned)(100 * worked / passed) : 0;
    rates->gpu = rates->gpu > 100 ? 100 : rates->gpu;
    rates->memory = 0;
    sampled[device - gpus].at_ns = now;
    sampled[device - gpus].busy_ns = busy;
    return NVML_SUCCESS;
}

EXPORT nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count,
                                                            struct nvml_process *processes)
{
    nvmlReturn_t result = check(device, count);
    if (result != NVML_SUCCESS)
        return result;
    unsigned room = processes ? *count : 0, found = 0;
    machine_lock(device);
    machine_reap(device, true);
    for (int i = 0; i < EMU_PROCESSES; i++) {
        const struct emu_process *process = &device->shared->processes[i];
        if (process->pid == 0)
            continue;
        if (found < room)
            processes[found] = (struct nvml_process){process->pid, process->memory_bytes,
                                                     NOT_AN_INSTANCE, NOT_AN_INSTANCE};
        found++;
    }
    machine_unlock(device);
    *count = found;
    return found <= room ? NVML_SUCCESS : NVML_ERROR_INSUFFICIENT_SIZE;
}
