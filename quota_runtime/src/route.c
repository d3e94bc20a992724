/* From the driver's functions to our hooks: by pointer, and by name where a pointer is unknown. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "exports.h"
#include "real.h"
#include "state.h"

#define DRIVER "libcuda.so.1"

struct has_real_entries has_real;
struct has_real_uses has_use;

struct entry {
    const char *name;
    void *hook;
};

static const struct entry entries[] = {
#define H(name, kind, parameters, arguments) {#name, (void *)name},
#define P(name, kind, parameters, arguments) \
    {#name, (void *)name}, {#name "_ptsz", (void *)name##_ptsz},
#define S P
#define D(name, kind, parameters, arguments) \
    {#name, (void *)name}, {#name "_ptds", (void *)name##_ptds},
#include "has_entries.def"
};

static const char *const uses[] = {
#define U(name, parameters) #name,
#include "has_uses.def"
};

#define ENTRIES (sizeof(entries) / sizeof(entries[0]))
_Static_assert(sizeof(has_real) == ENTRIES * sizeof(void *), "one pointer per entry");

/* Versions of one name, oldest first, where the name alone does not say which is meant. */
static const struct {
    const char *name;
    int since;
} versions[] = {
    {"cuGetProcAddress_v2", 12000},        {"cuStreamBeginCapture_v2", 10010},
    {"cuStreamGetCaptureInfo_v2", 11030},  {"cuStreamGetCaptureInfo_v3", 12030},
    {"cuStreamWaitValue32_v2", 11070},     {"cuStreamWriteValue32_v2", 11070},
    {"cuStreamWaitValue64_v2", 11070},     {"cuStreamWriteValue64_v2", 11070},
    {"cuStreamBatchMemOp_v2", 11070},      {"cuStreamUpdateCaptureDependencies_v2", 12030},
    {"cuMemPrefetchAsync_v2", 12020},      {"cuMemcpyBatchAsync_v2", 13000},
    {"cuMemcpy3DBatchAsync_v2", 13000},    {"cuCtxCreate_v3", 11040},
    {"cuCtxCreate_v4", 12050},             {"cuGraphInstantiate_v2", 11000},
    {"cuCtxSynchronize_v2", 13000},
};

static pthread_mutex_t finding = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool found;
static uint64_t disabled[(ENTRIES + 63) / 64];

static void *real_of(size_t index)
{
    return ((void **)&has_real)[index];
}

/* A test build leaves single hooks out, to see that a test notices. HAS_DISABLED is an expression. */
static void read_disabled(void)
{
#ifdef HAS_DISABLED
    const char *list = HAS_DISABLED;
    for (size_t i = 0; list && i < ENTRIES; i++) {
        size_t length = strlen(entries[i].name);
        for (const char *at = list; (at = strstr(at, entries[i].name)); at += length)
            if ((at == list || at[-1] == ',') && (at[length] == ',' || !at[length]))
                disabled[i / 64] |= 1ull << i % 64;
    }
#endif
}

static bool is_disabled(size_t index)
{
    return disabled[index / 64] >> index % 64 & 1;
}

bool has_real_found(void)
{
    return atomic_load_explicit(&found, memory_order_acquire);
}

bool has_real_find(void)
{
    if (has_real_found())
        return true;
    pthread_mutex_lock(&finding);
    void *driver = has_real_found() ? NULL : dlopen(DRIVER, RTLD_LAZY | RTLD_NOLOAD);
    if (driver) {
        /* The handle is kept: a program that unloads the driver must not pull it from under us. */
        for (size_t i = 0; i < ENTRIES; i++)
            ((void **)&has_real)[i] = has_libc_dlsym(driver, entries[i].name);
        for (size_t i = 0; i < sizeof(uses) / sizeof(uses[0]); i++)
            ((void **)&has_use)[i] = has_libc_dlsym(driver, uses[i]);
        read_disabled();
        atomic_store_explicit(&found, true, memory_order_release);
    }
    pthread_mutex_unlock(&finding);
    return has_real_found();
}

static bool from_driver(const void *pointer)
{
    Dl_info info;
    if (!dladdr(pointer, &info) || !info.dli_fname)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    return strncmp(slash ? slash + 1 : info.dli_fname, "libcuda.so", 10) == 0;
}

void *has_route_pointer(const char *name, void *pointer)
{
    for (size_t i = 0; i < ENTRIES; i++) {
        if (strcmp(entries[i].name, name) != 0)
            continue;
        if (!has_real_find() || !real_of(i))
            return pointer == entries[i].hook ? NULL : pointer;
        if (is_disabled(i))
            return pointer == entries[i].hook || !pointer ? real_of(i) : pointer;
        if (!pointer || pointer == real_of(i) || from_driver(pointer))
            return entries[i].hook;
        return pointer;
    }
    return pointer;
}

static bool wanted_variant(const char *name, bool per_thread)
{
    size_t length = strlen(name);
    const char *end = length > 5 ? name + length - 5 : name;
    bool is_variant = strcmp(end, "_ptsz") == 0 || strcmp(end, "_ptds") == 0;
    return is_variant == per_thread;
}

/* Whether an exported name is a version of the name asked for. */
static bool is_version_of(const char *exported, const char *asked)
{
    size_t length = strlen(asked);
    if (strncmp(exported, asked, length) != 0)
        return false;
    const char *rest = exported + length;
    return *rest == '\0' || (rest[0] == '_' && (rest[1] == 'v' || rest[1] == 'p'));
}

static bool in_version(const char *exported, int version)
{
    for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
        if (strncmp(exported, versions[i].name, strlen(versions[i].name)) == 0)
            return versions[i].since <= version;
    return true;
}

static bool has_per_thread(size_t index)
{
    return index + 1 < ENTRIES && !wanted_variant(entries[index + 1].name, false);
}

/* A function that the driver exports under a name that is not in the list: a later version, whose
 * parameters may differ. */
static bool is_stranger(const void *pointer)
{
    Dl_info info;
    return dladdr(pointer, &info) && info.dli_sname && info.dli_saddr == pointer &&
           strncmp(info.dli_sname, "cu", 2) == 0;
}

/* The hook for what cuGetProcAddress answered; `pointer` where we have none. By name only where the
 * pointer is to no exported function at all. */
void *has_route_answer(const char *asked, void *pointer, int version, uint64_t flags)
{
    bool per_thread = flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    /* CUDA 12 gave the old name to another function. */
    if (version >= 12000 && strcmp(asked, "cuGraphInstantiate") == 0)
        asked = "cuGraphInstantiateWithFlags";
    size_t same = ENTRIES, named = ENTRIES;
    for (size_t i = 0; i < ENTRIES; i++) {
        bool fits = is_version_of(entries[i].name, asked);
        if (real_of(i) == pointer && (same == ENTRIES || fits))
            same = i;
        if (fits && real_of(i) && in_version(entries[i].name, version) &&
            (wanted_variant(entries[i].name, per_thread) ||
             (per_thread && wanted_variant(entries[i].name, false) && !has_per_thread(i))))
            named = i;
    }
    size_t index = same < ENTRIES ? same : named;
    if (index == ENTRIES || is_disabled(index) || (same == ENTRIES && is_stranger(pointer)))
        return pointer;
    return entries[index].hook;
}

HAS_EXPORT CUresult cuGetProcAddress(const char *asked, void **answer, int version, uint64_t flags)
{
    if (!has_real_find() || !has_real.cuGetProcAddress)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuGetProcAddress(asked, answer, version, flags);
    if (result == CUDA_SUCCESS && asked && answer && *answer)
        *answer = has_route_answer(asked, *answer, version, flags);
    return result;
}

HAS_EXPORT CUresult cuGetProcAddress_v2(const char *asked, void **answer, int version,
                                        uint64_t flags, CUdriverProcAddressQueryResult *status)
{
    if (!has_real_find() || !has_real.cuGetProcAddress_v2)
        return CUDA_ERROR_NOT_INITIALIZED;
    CUresult result = has_real.cuGetProcAddress_v2(asked, answer, version, flags, status);
    if (result == CUDA_SUCCESS && asked && answer && *answer)
        *answer = has_route_answer(asked, *answer, version, flags);
    return result;
}
