/* A libcuda.so.1 that does nothing and remembers every call: which entry, with which words.
 *
 * Made from the same list as the hooks, so it has every entry, those that no emulator has as well.
 */
#include "recorder.h"

#include <stdbool.h>
#include <string.h>

#include "../emulator/check.h"

#define EXPORT __attribute__((visibility("default")))

static struct record record;
static uint64_t handles = 0x100000; /* of what the driver makes */
static CUcontext primary;

EXPORT struct record *hasRecord(void)
{
    return &record;
}

#define PLACE(event) ((uint64_t)(event) / 64 % 4096)
static unsigned recorded_at[4096]; /* number of calls so far, by event */

static void note(const char *name, int count, const uint64_t *words, const unsigned *sizes)
{
    struct seen *seen = &record.last[record.total++ % 256];
    *seen = (struct seen){.name = name, .count = count};
    memcpy(seen->word, words, (size_t)count * sizeof *words);
    memcpy(seen->size, sizes, (size_t)count * sizeof *sizes);
}

#define WORD(x)                                                                                   \
    ({                                                                                            \
        uint64_t word_ = 0;                                                                       \
        __typeof__(x) value_ = (x);                                                               \
        memcpy(&word_, &value_, sizeof value_);                                                   \
        word_;                                                                                    \
    })
#define SIZE(x) sizeof(x)
#define NOTE(name, arguments)                                                                     \
    do {                                                                                          \
        uint64_t words[] = {MAP(WORD, INSIDE arguments)};                                         \
        unsigned sizes[] = {MAP(SIZE, INSIDE arguments)};                                         \
        note(#name, (int)(sizeof words / sizeof words[0]), words, sizes);                         \
    } while (0)

/* As a later driver has it: another version than any in the list. */
EXPORT CUresult cuStreamQuery_v9(CUstream stream, int more);
EXPORT CUresult cuStreamQuery_v9(CUstream stream, int more)
{
    (void)stream, (void)more;
    return CUDA_SUCCESS;
}

/* Results that a hook reads. Everything else succeeds and changes nothing. */
static CUresult answer(const char *name, const uint64_t *words)
{
    static const char *const makers[] = {
        "cuMemAlloc_v2", "cuMemAllocPitch_v2", "cuMemAllocManaged", "cuMemAllocAsync",
        "cuMemAllocAsync_ptsz", "cuMemAllocFromPoolAsync", "cuMemAllocFromPoolAsync_ptsz",
        "cuMemCreate", "cuArrayCreate_v2", "cuArray3DCreate_v2", "cuMipmappedArrayCreate",
        "cuGraphInstantiate", "cuGraphInstantiate_v2", "cuGraphInstantiateWithFlags",
        "cuGraphInstantiateWithParams", "cuGraphInstantiateWithParams_ptsz",
        "cuDevicePrimaryCtxRetain", "cuCtxCreate_v2", "cuCtxCreate_v3", "cuCtxCreate_v4",
    };
    for (unsigned i = 0; i < sizeof makers / sizeof makers[0]; i++)
        if (strcmp(name, makers[i]) == 0 && words[0])
            *(uint64_t *)words[0] = handles += 64;
    if (strcmp(name, "cuDevicePrimaryCtxRetain") == 0)
        primary = *(CUcontext *)words[0];
    if (strncmp(name, "cuStreamEndCapture", 18) == 0)
        *(uint64_t *)words[1] = handles += 64;
    /* A cluster that fits nowhere but on the largest partition, which is asked second. */
    static unsigned clusters;
    if (strncmp(name, "cuLaunchKernelEx", 16) == 0 && words[1] == CLUSTER_FUNCTION)
        return ++clusters % 2 ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
    if (strncmp(name, "cuEventRecord", 13) == 0)
        recorded_at[PLACE(words[0])] = record.total;
    if (strncmp(name, "cuStreamIsCapturing", 19) == 0)
        *(CUstreamCaptureStatus *)words[1] = CU_STREAM_CAPTURE_STATUS_NONE;
    if (strcmp(name, "cuMemAllocPitch_v2") == 0)
        *(size_t *)words[1] = (words[2] + 511) / 512 * 512;
    if (strcmp(name, "cuMemRetainAllocationHandle") == 0)
        *(uint64_t *)words[0] = words[1];
    if (strcmp(name, "cuMemGetInfo_v2") == 0)
        *(size_t *)words[0] = *(size_t *)words[1] = 1ull << 37;
    if (strncmp(name, "cuGetProcAddress", 16) == 0)
        *(void **)words[1] = strcmp((char *)words[0], "cuStreamQuery") == 0
                                 ? (void *)cuStreamQuery_v9
                                 : (void *)note; /* exported under no name */
    return CUDA_SUCCESS;
}

#define ENTRY(name, parameters, arguments)                                                        \
    EXPORT CUresult name parameters                                                               \
    {                                                                                             \
        uint64_t words[] = {MAP(WORD, INSIDE arguments)};                                         \
        NOTE(name, arguments);                                                                    \
        return answer(#name, words);                                                              \
    }

#define H(name, kind, parameters, arguments) ENTRY(name, parameters, arguments)
#define P(name, kind, parameters, arguments)                                                      \
    ENTRY(name, parameters, arguments) ENTRY(name##_ptsz, parameters, arguments)
#define S P
#define D(name, kind, parameters, arguments)                                                      \
    ENTRY(name, parameters, arguments) ENTRY(name##_ptds, parameters, arguments)
#include "../../../quota_runtime/include/has_entries.def"

/* --- what the library uses itself ---------------------------------------------------------- */

EXPORT CUresult cuCtxGetCurrent(CUcontext *context)
{
    *context = NULL;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxSetCurrent(CUcontext context)
{
    (void)context;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetCount(int *count)
{
    *count = 1;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGet(CUdevice *device, int index)
{
    *device = index;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device)
{
    (void)attribute, (void)device;
    *value = SM_COUNT;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    (void)flags;
    *event = (CUevent)(handles += 64);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuEventQuery(CUevent event)
{
    (void)event;
    return CUDA_SUCCESS;
}
/* The GPU is as busy as the program calls: a microsecond a call. */
EXPORT CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to)
{
    *ms = ((float)recorded_at[PLACE(to)] - (float)recorded_at[PLACE(from)]) / 1e3f;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamGetFlags(CUstream stream, unsigned *flags)
{
    (void)stream;
    *flags = CU_STREAM_NON_BLOCKING;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDeviceGetDevResource(CUdevice device, CUdevResource *resource, int type)
{
    (void)device;
    resource->type = type;
    resource->sm.smCount = SM_COUNT;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDevSmResourceSplitByCount(CUdevResource *groups, unsigned *count,
                                            const CUdevResource *all, CUdevResource *rest,
                                            unsigned flags, unsigned size)
{
    (void)flags;
    *count = all->sm.smCount / size;
    for (unsigned i = 0; i < *count; i++) {
        groups[i] = *all;
        groups[i].sm.smCount = size;
    }
    *rest = *all;
    rest->sm.smCount = all->sm.smCount % size;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuDevResourceGenerateDesc(CUdevResourceDesc *made, CUdevResource *parts, unsigned n)
{
    (void)parts, (void)n;
    *made = (CUdevResourceDesc)(handles += 64);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGreenCtxCreate(CUgreenCtx *made, CUdevResourceDesc from, CUdevice device,
                                 unsigned flags)
{
    (void)from, (void)device, (void)flags;
    *made = (CUgreenCtx)(handles += 64);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGreenCtxStreamCreate(CUstream *stream, CUgreenCtx context, unsigned flags,
                                       int priority)
{
    (void)context, (void)flags, (void)priority;
    *stream = record.green[record.greens++ % 64] = (CUstream)(handles += 64);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuCtxFromGreenCtx(CUcontext *context, CUgreenCtx green)
{
    *context = (CUcontext)green;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags)
{
    (void)flags;
    *stream = (CUstream)(handles += 64);
    return CUDA_SUCCESS;
}

/* --- graphs: one is made of a kernel on the whole GPU, a fill and a copy; others have no copy. */

EXPORT CUresult cuGraphClone(CUgraph *clone, CUgraph graph)
{
    *clone = graph;
    return (uint64_t)graph == WHOLE_GRAPH ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}
EXPORT CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode *nodes, size_t *count)
{
    (void)graph;
    *count = 3;
    for (uint64_t type = 0; nodes && type < 3; type++)
        nodes[type] = (CUgraphNode)(type + 1);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType *type)
{
    *type = (CUgraphNodeType)((uint64_t)node - 1);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS *parameters)
{
    (void)node;
    parameters->func = (CUfunction)0x77;
    parameters->ctx = primary;
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS *set)
{
    record.placed[(uint64_t)node - 1] = (uint64_t)(set->func ? NULL : set->ctx);
    CHECK(set->kern == (CUkernel)0x77);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph *graph)
{
    (void)node, (void)graph;
    return CUDA_ERROR_INVALID_VALUE;
}
EXPORT CUresult cuGraphMemcpyNodeGetParams(CUgraphNode node, void *parameters)
{
    (void)node;
    memset(parameters, 0x11, 200);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphMemsetNodeGetParams(CUgraphNode node, void *parameters)
{
    (void)node;
    memset(parameters, 0x22, 40);
    return CUDA_SUCCESS;
}
EXPORT CUresult cuGraphNodeSetParams(CUgraphNode node, CUgraphNodeParams *set)
{
    bool is_copy = set->type == CU_GRAPH_NODE_TYPE_MEMCPY;
    CHECK((uint64_t)set->type + 1 == (uint64_t)node);
    CHECK(is_copy ? set->copy.parameters[199] == 0x11 : set->fill.height == 0x2222222222222222);
    record.placed[set->type] = (uint64_t)(is_copy ? set->copy.ctx : set->fill.ctx);
    return CUDA_SUCCESS;
}
