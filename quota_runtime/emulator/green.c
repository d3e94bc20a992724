/* Green contexts: contexts on some of the SMs, cut the way an H200 cuts them. */
#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "objects.h"

#define SMALLEST_UNIT 2u             /* SMs, when co-scheduling is given up */
#define GREEN_BYTES (11ull << 19)    /* device memory of one, measured on an H200 */

/* What a resource keeps in the driver's private bytes: which SMs it means. */
struct private_part {
    uint32_t ordinal;
    struct sm_set sms;
};

_Static_assert(sizeof(struct private_part) <= sizeof((CUdevResource){0}.internal_padding), "ABI");

static unsigned long live; /* green contexts of this process */

struct CUdevResourceDesc_st {
    struct gpu *gpu;
    struct sm_set sms;
};

static void make_resource(CUdevResource *resource, const struct gpu *gpu, const struct sm_set *sms,
                          unsigned unit)
{
    struct private_part part = {(uint32_t)gpu->ordinal, *sms};
    memset(resource, 0, sizeof *resource);
    unsigned count = (unsigned)sm_set_size(sms);
    resource->type = count ? CU_DEV_RESOURCE_TYPE_SM : CU_DEV_RESOURCE_TYPE_INVALID;
    resource->sm.smCount = count;
    resource->sm.minSmPartitionSize = unit;
    resource->sm.smCoscheduledAlignment = unit;
    memcpy(resource->internal_padding, &part, sizeof part);
}

static CUresult read_resource(const CUdevResource *resource, struct gpu **gpu, struct sm_set *sms)
{
    struct private_part part;
    if (!resource || resource->type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    memcpy(&part, resource->internal_padding, sizeof part);
    *sms = part.sms;
    if (device_gpu((CUdevice)part.ordinal, gpu) != CUDA_SUCCESS ||
        (unsigned)sm_set_size(sms) != resource->sm.smCount)
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetDevResource(CUdevice device, CUdevResource *resource, int type)
{
    struct gpu *gpu;
    CUresult result = resource ? device_gpu(device, &gpu) : CUDA_ERROR_INVALID_VALUE;
    if (result != CUDA_SUCCESS)
        return result;
    if (type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    struct sm_set all = sm_set_range(0, gpu->shared->sm_count);
    make_resource(resource, gpu, &all, gpu->shared->sm_group_size);
    return CUDA_SUCCESS;
}

CUresult cuCtxGetDevResource(CUcontext context, CUdevResource *resource, int type)
{
    if (!context_is_live(context) || !resource)
        return resource ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE;
    if (type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_RESOURCE_TYPE;
    make_resource(resource, context->gpu, &context->sms, context->gpu->shared->sm_group_size);
    return CUDA_SUCCESS;
}

CUresult cuGreenCtxGetDevResource(CUgreenCtx green, CUdevResource *resource, int type)
{
    if (!green || green->kind != KIND_GREEN)
        return CUDA_ERROR_INVALID_CONTEXT;
    return cuCtxGetDevResource(&green->context, resource, type);
}

/* Take the first `count` SMs out of `from`. */
static struct sm_set take_sms(struct sm_set *from, unsigned count)
{
    struct sm_set taken = {{0}};
    for (int word = 0; word < EMU_SM_WORDS; word++)
        while (count > 0 && from->word[word]) {
            uint64_t lowest = from->word[word] & -from->word[word];
            from->word[word] ^= lowest;
            taken.word[word] |= lowest;
            count--;
        }
    return taken;
}

/* An H200 split into its smallest groups gives 15 of 8 and keeps 12 as the rest. */
static unsigned group_count(const struct emu_gpu *gpu, unsigned sms, unsigned size)
{
    bool keeps_last = sms == gpu->sm_count && size == gpu->sm_group_size && sms > size;
    return sms / size - keeps_last;
}

CUresult cuDevSmResourceSplitByCount(CUdevResource *groups, unsigned *count,
                                     const CUdevResource *input, CUdevResource *rest,
                                     unsigned flags, unsigned least_sms)
{
    struct gpu *gpu;
    struct sm_set left;
    if (!count || flags > CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = read_resource(input, &gpu, &left);
    if (result != CUDA_SUCCESS)
        return result;
    unsigned unit = flags ? SMALLEST_UNIT : gpu->shared->sm_group_size;
    unsigned size = least_sms > unit ? (least_sms + unit - 1) / unit * unit : unit;
    unsigned possible = group_count(gpu->shared, (unsigned)sm_set_size(&left), size);
    if (possible == 0 || least_sms > gpu->shared->sm_count)
        return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
    if (!groups || *count > possible)
        *count = possible;
    for (unsigned i = 0; groups && i < *count; i++) {
        struct sm_set taken = take_sms(&left, size);
        make_resource(&groups[i], gpu, &taken, unit);
    }
    if (rest && groups)
        make_resource(rest, gpu, &left, unit);
    return CUDA_SUCCESS;
}

/* Descriptions live as long as the process, as in the driver. */
CUresult cuDevResourceGenerateDesc(CUdevResourceDesc *description, CUdevResource *resources,
                                   unsigned count)
{
    struct sm_set all = {{0}};
    struct gpu *gpu = NULL;
    if (!description || !resources || count == 0)
        return CUDA_ERROR_INVALID_VALUE;
    for (unsigned i = 0; i < count; i++) {
        struct sm_set sms;
        struct gpu *of;
        CUresult result = read_resource(&resources[i], &of, &sms);
        if (result != CUDA_SUCCESS)
            return result;
        if ((gpu && of != gpu) || sm_set_overlap(&all, &sms))
            return CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION;
        gpu = of;
        all = sm_set_union(&all, &sms);
    }
    *description = malloc(sizeof **description);
    if (!*description)
        return CUDA_ERROR_OUT_OF_MEMORY;
    **description = (struct CUdevResourceDesc_st){gpu, all};
    return CUDA_SUCCESS;
}

CUresult cuGreenCtxCreate(CUgreenCtx *made, CUdevResourceDesc description, CUdevice device,
                          unsigned flags)
{
    struct gpu *gpu;
    if (!made || !description || flags != CU_GREEN_CTX_DEFAULT_STREAM)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = device_gpu(device, &gpu);
    if (result != CUDA_SUCCESS)
        return result;
    if (gpu != description->gpu)
        return CUDA_ERROR_INVALID_DEVICE;
    fault_slow(SLOW_GREEN);
    for (unsigned long i = 0; i < fault_green_trips() && context_current(); i++)
        cuCtxSynchronize();
    bool may = !fault_due(FAULT_GREEN) && __atomic_load_n(&live, __ATOMIC_ACQUIRE) < fault_greens();
    CUgreenCtx green = may && machine_attach(gpu) ? malloc(sizeof *green) : NULL;
    result = green ? memory_charge(gpu, GREEN_BYTES) : CUDA_ERROR_OUT_OF_MEMORY;
    if (result != CUDA_SUCCESS) {
        free(green);
        return result;
    }
    green->kind = KIND_GREEN;
    green->flags = flags;
    context_init(&green->context, gpu, 0);
    green->context.green = green;
    green->context.sms = description->sms;
    __atomic_add_fetch(&live, 1, __ATOMIC_ACQ_REL);
    *made = green;
    return CUDA_SUCCESS;
}

/* Its streams are dead from now on; destroying them later fails, as in the driver before 13.1. */
CUresult cuGreenCtxDestroy(CUgreenCtx green)
{
    if (!green || green->kind != KIND_GREEN)
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    green->kind = 0;
    context_end(&green->context);
    memory_release(green->context.gpu, GREEN_BYTES);
    __atomic_sub_fetch(&live, 1, __ATOMIC_ACQ_REL);
    return CUDA_SUCCESS;
}

CUresult cuCtxFromGreenCtx(CUcontext *context, CUgreenCtx green)
{
    if (!context || !green || green->kind != KIND_GREEN)
        return context ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE;
    *context = &green->context;
    return CUDA_SUCCESS;
}

CUresult cuGreenCtxGetId(CUgreenCtx green, unsigned long long *id)
{
    if (!green || green->kind != KIND_GREEN || !id)
        return CUDA_ERROR_INVALID_VALUE;
    *id = green->context.id;
    return CUDA_SUCCESS;
}
