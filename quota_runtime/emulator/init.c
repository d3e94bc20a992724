/* Initialisation, devices, versions, faults. */
#include <stdio.h>
#include <string.h>

#include "entries.h"
#include "objects.h"

#define DRIVER_VERSION 13000 /* of R580, whose behaviour is simulated */

enum { ATTRIBUTE_LIMIT = 200 };

static int state; /* 0 before cuInit, 1 after, 2 in a forked child, 3 at exit */

static void forked(void)
{
    __atomic_store_n(&state, 2, __ATOMIC_RELEASE); /* CUDA does not survive a fork */
}

__attribute__((destructor)) static void ending(void)
{
    if (__atomic_exchange_n(&state, 3, __ATOMIC_ACQ_REL) != 1)
        return;
    struct gpu *gpus;
    int count = machine_gpus(&gpus);
    for (int i = 0; i < count; i++) {
        if (!gpus[i].attached)
            continue;
        machine_lock(&gpus[i]);
        machine_refresh(&gpus[i]);
        engine_drop_process(gpus[i].shared, gpus[i].process);
        machine_unlock(&gpus[i]);
    }
}

CUresult driver_state(void)
{
    int now = __atomic_load_n(&state, __ATOMIC_ACQUIRE);
    if (now == 1)
        return CUDA_SUCCESS;
    return now == 3 ? CUDA_ERROR_DEINITIALIZED : CUDA_ERROR_NOT_INITIALIZED;
}

CUresult cuInit(unsigned flags)
{
    struct gpu *gpus;
    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (machine_gpus(&gpus) == 0)
        return CUDA_ERROR_NO_DEVICE;
    int before = 0;
    if (__atomic_compare_exchange_n(&state, &before, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        pthread_atfork(NULL, NULL, forked);
    return driver_state();
}

CUresult cuDriverGetVersion(int *version)
{
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = DRIVER_VERSION;
    return CUDA_SUCCESS;
}

CUresult device_gpu(CUdevice device, struct gpu **gpu)
{
    struct gpu *gpus;
    CUresult result = driver_state();
    if (result != CUDA_SUCCESS)
        return result;
    if (device < 0 || device >= machine_gpus(&gpus))
        return CUDA_ERROR_INVALID_DEVICE;
    *gpu = &gpus[device];
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *count)
{
    struct gpu *gpus;
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = machine_gpus(&gpus);
    return driver_state();
}

CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
    struct gpu *gpu;
    CUresult result = device ? device_gpu(ordinal, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *device = ordinal;
    return result;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device)
{
    struct gpu *gpu;
    CUresult result = name && length > 0 ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        snprintf(name, (size_t)length, "%s", gpu->shared->product);
    return result;
}

static void parse_uuid(const char *text, CUuuid *uuid)
{
    int digits = 0;
    memset(uuid, 0, sizeof *uuid);
    for (text += strncmp(text, "GPU-", 4) == 0 ? 4 : 0; *text && digits < 32; text++) {
        const char *hex = "0123456789abcdef", *found = strchr(hex, *text | 0x20);
        if (*text == '-' || !found)
            continue;
        uuid->bytes[digits / 2] = (char)((uuid->bytes[digits / 2] << 4) | (int)(found - hex));
        digits++;
    }
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device)
{
    struct gpu *gpu;
    CUresult result = uuid ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        parse_uuid(gpu->shared->uuid, uuid);
    return result;
}

CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice device)
{
    return cuDeviceGetUuid_v2(uuid, device);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
    struct gpu *gpu;
    CUresult result = bytes ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result == CUDA_SUCCESS)
        *bytes = gpu->shared->memory_bytes;
    return result;
}

/* Attributes of an H200 by number; every other one reads 0. */
static int attribute_value(int attribute)
{
    static const int values[ATTRIBUTE_LIMIT] = {
        [1] = 1024, /* threads per block */
        [2] = 1024,       [3] = 1024,      [4] = 64, /* block dimensions */
        [5] = 2147483647, [6] = 65535,     [7] = 65535, /* grid dimensions */
        [8] = 49152,      [9] = 65536,     [10] = 32,  /* shared, constant memory, warp */
        [12] = 65536,     [13] = 1980000,  [15] = 1,   /* registers, clock kHz, overlap */
        [19] = 1,         [31] = 1,        [36] = 3201000, /* map host, concurrent kernels */
        [37] = 6144,      [38] = 62914560, [39] = 2048, /* bus, L2 bytes, threads per SM */
        [40] = 3,         [41] = 1, /* copy engines, unified addressing */
        [CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = 9,
        [CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR] = 0,
        [78] = 1,         [81] = 233472,   [82] = 65536, /* priorities, shared and registers per SM */
        [83] = 1,         [CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH] = 1,
        [97] = 232448,    [102] = 1,       [106] = 32, /* opt-in shared, VMM, blocks per SM */
        [115] = 1,        [120] = 1, /* memory pools, cluster launch */
    };
    return attribute >= 0 && attribute < ATTRIBUTE_LIMIT ? values[attribute] : 0;
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    struct gpu *gpu;
    CUresult result = value ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if ((int)attribute < 1)
        return CUDA_ERROR_INVALID_VALUE;
    *value = attribute == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT ? (int)gpu->shared->sm_count
                                                                   : attribute_value(attribute);
    return CUDA_SUCCESS;
}

