/* cuGetProcAddress and the per-thread variants, all made from the list in entries.h. */
#include <string.h>

#include "entries.h"
#include "objects.h"

#define PT(stream) ((stream) ? (stream) : CU_STREAM_PER_THREAD)
#define NO_VARIANT(base, symbol, since, parameters)
#define STREAM_VARIANT(base, symbol, per_thread, since, parameters, arguments)                     \
    CUresult per_thread parameters                                                                 \
    {                                                                                              \
        return symbol arguments;                                                                   \
    }
#define SYNC_VARIANT(base, symbol, per_thread, since, parameters, arguments)                       \
    CUresult per_thread parameters                                                                 \
    {                                                                                              \
        sync_calls_per_thread = true;                                                              \
        CUresult result = symbol arguments;                                                        \
        sync_calls_per_thread = false;                                                             \
        return result;                                                                             \
    }

ENTRIES(NO_VARIANT, STREAM_VARIANT, SYNC_VARIANT)

/* Two entries have no stream parameter but a stream inside a structure. */
EMU_EXPORT CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function,
                                          void **parameters, void **extra);

CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction function,
                               void **parameters, void **extra)
{
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    CUlaunchConfig own = *config;
    own.hStream = PT(own.hStream);
    return cuLaunchKernelEx(&own, function, parameters, extra);
}

struct entry {
    const char *base;
    int since;
    void *symbol;
    void *per_thread;
};

#define AS_POINTER(function) ((void *)(uintptr_t)(function))
#define PLAIN_ENTRY(base, symbol, since, parameters) {#base, since, AS_POINTER(symbol), NULL},
#define PAIR_ENTRY(base, symbol, per_thread, since, parameters, arguments)                         \
    {#base, since, AS_POINTER(symbol), AS_POINTER(per_thread)},

static const struct entry *find(const char *name, int version, bool *named)
{
    static const struct entry entries[] = {
        ENTRIES(PLAIN_ENTRY, PAIR_ENTRY, PAIR_ENTRY){"cuLaunchKernelEx", 11060,
                                                      AS_POINTER(cuLaunchKernelEx),
                                                      AS_POINTER(cuLaunchKernelEx_ptsz)},
    };
    const struct entry *best = NULL;
    *named = false;
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (strcmp(entries[i].base, name) != 0)
            continue;
        *named = true;
        if (entries[i].since <= version && (!best || entries[i].since >= best->since))
            best = &entries[i];
    }
    return best;
}

CUresult cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags,
                             CUdriverProcAddressQueryResult *status)
{
    if (!name || !function || flags > CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)
        return CUDA_ERROR_INVALID_VALUE;
    bool named;
    const struct entry *entry = find(name, version, &named);
    bool per_thread = flags == CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    *function = entry ? (per_thread && entry->per_thread ? entry->per_thread : entry->symbol) : NULL;
    if (status)
        *status = entry   ? CU_GET_PROC_ADDRESS_SUCCESS
                  : named ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                          : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return entry ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

CUresult cuGetProcAddress(const char *name, void **function, int version, uint64_t flags)
{
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}

CUresult cuGetExportTable(const void **table, const CUuuid *id)
{
    if (!table || !id)
        return CUDA_ERROR_INVALID_VALUE;
    *table = NULL;
    return CUDA_ERROR_NOT_FOUND;
}
