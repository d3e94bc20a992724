/* The entries that allocate and free: each charges and gives back exactly what it must. */
#include "each_entry.h"

#define BYTES 1000

static uint64_t charged(void)
{
    return slot()->memory_bytes;
}

static void frees(const char *name, uint64_t handle, uint64_t left)
{
    CALL(name, handle, fresh_stream());
    CHECK(charged() == left);
    CHECK(header()->memory_bytes >= charged());
}

static uint64_t shape(const char *name, uint64_t *bytes)
{
    static CUDA_ARRAY_DESCRIPTOR flat = {10, 4, CU_AD_FORMAT_HALF, 2};
    static CUDA_ARRAY3D_DESCRIPTOR deep = {10, 4, 3, CU_AD_FORMAT_UNSIGNED_INT8, 4, 0};
    bool is_flat = strcmp(name, "cuArrayCreate_v2") == 0;
    *bytes = is_flat ? 10 * 4 * 2 * 2 : 10 * 4 * 3 * 4;
    return is_flat ? (uint64_t)&flat : (uint64_t)&deep;
}

static void arrays(const char *makes, const char *ends, uint64_t levels)
{
    uint64_t handle = 0, bytes, before = charged(), described = shape(makes, &bytes);
    CALL(makes, &handle, described, levels);
    CHECK(charged() == before + bytes);
    frees(ends, handle, before);
}

static void physical(void)
{
    CUmemAllocationProp properties = {.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    uint64_t handle = 0, again = 0, before = charged();
    CALL("cuMemCreate", &handle, BYTES, &properties, 0);
    CHECK(charged() == before + BYTES);
    CALL("cuMemMap", 0x900000, BYTES, 0, handle, 0);
    CALL("cuMemRetainAllocationHandle", &again, handle);
    CHECK(again == handle);
    /* Two handles and one mapping: only the last of the three gives it back. */
    frees("cuMemRelease", handle, before + BYTES);
    frees("cuMemRelease", handle, before + BYTES);
    CALL("cuMemUnmap", 0x900000, BYTES);
    CHECK(charged() == before);
    CALL("cuMemCreate", &handle, BYTES, &properties, 0);
    frees("cuMemRelease", handle, before);
    properties.location.type = 2; /* host memory */
    CALL("cuMemCreate", &handle, BYTES, &properties, 0);
    CHECK(charged() == before);
}

static void pointers(const struct entry *entry)
{
    uint64_t pointer = 0, pitch = 0, before = charged(), bytes = BYTES;
    const char *name = entry->name, *ends = "cuMemFree_v2";
    CUstream stream = fresh_stream();
    bool async = strstr(name, "Async") != NULL, per_thread = strstr(name, "_ptsz") != NULL;
    uint64_t place = async ? where(stream, per_thread) : 0;
    if (strncmp(name, "cuMemFree", 9) == 0)
        CALL("cuMemAlloc_v2", &pointer, BYTES);
    else if (strcmp(name, "cuMemAllocPitch_v2") == 0)
        CALL(name, &pointer, &pitch, 100, 10, 4);
    else if (strncmp(name, "cuMemAllocFromPoolAsync", 23) == 0)
        CALL(name, &pointer, BYTES, 0x1234, stream);
    else
        CALL(name, &pointer, BYTES, stream);
    if (pitch)
        bytes = pitch * 10;
    CHECK(pointer && charged() == before + bytes);
    if (strncmp(name, "cuMemFree", 9) == 0)
        ends = name;
    else if (async)
        CHECK(newest(0)->word[newest(0)->count - 1] == place);
    CALL(ends, pointer, stream);
    CHECK(charged() == before);
    if (strncmp(name, "cuMemFreeAsync", 14) == 0)
        CHECK(newest(0)->word[1] == place);
}

static void tells_the_limit(const char *name)
{
    size_t free_bytes, total;
    CALL(name, &free_bytes, &total);
    CHECK(total == 1ull << 30 && free_bytes == total - header()->memory_bytes);
}

void memory_entry(const struct entry *entry)
{
    const char *name = entry->name;
    if (strcmp(name, "cuMemGetInfo_v2") == 0)
        tells_the_limit(name);
    else if (strncmp(name, "cuMipmapped", 11) == 0)
        arrays("cuMipmappedArrayCreate", "cuMipmappedArrayDestroy", 1);
    else if (strncmp(name, "cuArray", 7) == 0)
        arrays(strcmp(name, "cuArrayDestroy") == 0 ? "cuArray3DCreate_v2" : name, "cuArrayDestroy", 0);
    else if (strncmp(name, "cuMemAlloc", 10) == 0 || strncmp(name, "cuMemFree", 9) == 0)
        pointers(entry);
    else
        physical();
}

void loses_memory(const struct entry *entry)
{
    uint64_t pointer = 0;
    CALL("cuMemAlloc_v2", &pointer, BYTES);
    CHECK(charged() >= BYTES);
    CALL(entry->name, 0);
    CHECK(charged() == 0);
}
