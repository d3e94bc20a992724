/* The memory limit of a pod on the emulated GPU, through every family of allocations. */
#include <signal.h>
#include <sys/wait.h>

#include "pod_case.h"

#define MIB (1ull << 20)
#define LIMIT (64 * MIB)

static CUstream stream;
static CUmemoryPool pool;

typedef CUresult (*take_type)(uint64_t *handle, size_t bytes);
typedef CUresult (*give_type)(uint64_t handle);

static CUresult take_plain(uint64_t *handle, size_t bytes)
{
    return cuMemAlloc_v2((CUdeviceptr *)handle, bytes);
}
static CUresult take_managed(uint64_t *handle, size_t bytes)
{
    return cuMemAllocManaged((CUdeviceptr *)handle, bytes, CU_MEM_ATTACH_GLOBAL);
}
static CUresult take_pitch(uint64_t *handle, size_t bytes)
{
    size_t pitch;
    return cuMemAllocPitch_v2((CUdeviceptr *)handle, &pitch, 4096, bytes / 4096, 4);
}
static CUresult take_async(uint64_t *handle, size_t bytes)
{
    return cuMemAllocAsync((CUdeviceptr *)handle, bytes, stream);
}
static CUresult take_pool(uint64_t *handle, size_t bytes)
{
    return cuMemAllocFromPoolAsync((CUdeviceptr *)handle, bytes, pool, stream);
}
static CUresult take_physical(uint64_t *handle, size_t bytes)
{
    CUmemAllocationProp properties = {.type = 1, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    return cuMemCreate((CUmemGenericAllocationHandle *)handle, bytes, &properties, 0);
}
static CUresult take_array(uint64_t *handle, size_t bytes)
{
    CUDA_ARRAY_DESCRIPTOR shape = {4096, bytes / 4096, CU_AD_FORMAT_UNSIGNED_INT8, 1};
    return cuArrayCreate_v2((CUarray *)handle, &shape);
}
static CUresult take_volume(uint64_t *handle, size_t bytes)
{
    CUDA_ARRAY3D_DESCRIPTOR shape = {1024, 1024, bytes >> 20, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0};
    return cuArray3DCreate_v2((CUarray *)handle, &shape);
}
static CUresult take_levels(uint64_t *handle, size_t bytes)
{
    CUDA_ARRAY3D_DESCRIPTOR shape = {1024, 1024, bytes >> 20, CU_AD_FORMAT_UNSIGNED_INT8, 1, 0};
    return cuMipmappedArrayCreate((CUmipmappedArray *)handle, &shape, 1);
}
static CUresult give_pointer(uint64_t handle)
{
    return cuMemFree_v2(handle);
}
static CUresult give_async(uint64_t handle)
{
    return cuMemFreeAsync(handle, stream);
}
static CUresult give_physical(uint64_t handle)
{
    return cuMemRelease(handle);
}
static CUresult give_array(uint64_t handle)
{
    return cuArrayDestroy((CUarray)handle);
}
static CUresult give_levels(uint64_t handle)
{
    return cuMipmappedArrayDestroy((CUmipmappedArray)handle);
}

static const struct family {
    take_type take;
    give_type give;
} families[] = {
    {take_plain, give_pointer}, {take_managed, give_pointer}, {take_pitch, give_pointer},
    {take_async, give_async},   {take_pool, give_async},      {take_physical, give_physical},
    {take_array, give_array},   {take_volume, give_array},    {take_levels, give_levels},
};
#define FAMILIES (sizeof families / sizeof families[0])

static void start_limited(void)
{
    start();
    write_limits(ALL, 1000, LIMIT);
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuDeviceGetDefaultMemPool(&pool, 0));
}

static uint64_t charged(void)
{
    return __atomic_load_n(&usage->memory_bytes, __ATOMIC_RELAXED);
}

static void every_family_stops_at_the_limit_and_goes_on_after_a_free(void)
{
    start_limited();
    for (size_t i = 0; i < FAMILIES; i++) {
        const struct family *family = &families[i];
        uint64_t held[4], more = 0;
        for (int n = 0; n < 4; n++)
            OK(family->take(&held[n], 16 * MIB));
        CHECK(charged() == LIMIT);
        CHECK(family->take(&more, 4 * MIB) == CUDA_ERROR_OUT_OF_MEMORY && more == 0);
        CHECK(take_plain(&more, 1) == CUDA_ERROR_OUT_OF_MEMORY);
        CHECK(slot()->memory_refused == 2 * (i + 1));
        OK(family->give(held[3]));
        OK(family->take(&held[3], 16 * MIB));
        for (int n = 0; n < 4; n++)
            OK(family->give(held[n]));
        CHECK(charged() == 0);
    }
    CHECK(slot()->memory_peak_bytes == LIMIT);
}

static void a_limit_below_what_is_used_refuses_and_kills_nothing(void)
{
    size_t free_bytes, total;
    uint64_t first, second, third;
    start_limited();
    OK(take_plain(&first, 40 * MIB));
    OK(take_async(&second, 20 * MIB));
    write_limits(ALL, 1000, 30 * MIB);
    CHECK(take_plain(&third, 1) == CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemGetInfo_v2(&free_bytes, &total));
    CHECK(free_bytes == 0 && total == 30 * MIB);
    OK(launch(kernel("narrow_us"), stream));
    OK(give_pointer(first));
    OK(take_plain(&third, 10 * MIB));
    OK(cuMemGetInfo_v2(&free_bytes, &total));
    CHECK(free_bytes == 0 && total == 30 * MIB);
    OK(give_async(second));
    OK(cuMemGetInfo_v2(&free_bytes, &total));
    CHECK(free_bytes == 20 * MIB);
}

/* Physical memory is charged until the last handle and the last mapping are gone. */
static void mapped_memory_is_charged_until_it_is_unmapped(void)
{
    uint64_t handle;
    CUdeviceptr address;
    start_limited();
    OK(cuMemAddressReserve(&address, 8 * MIB, 0, 0, 0));
    OK(take_physical(&handle, 8 * MIB));
    OK(cuMemMap(address, 8 * MIB, 0, handle, 0));
    OK(cuMemRelease(handle));
    CHECK(charged() == 8 * MIB);
    OK(cuMemUnmap(address, 8 * MIB));
    CHECK(charged() == 0);
}

static void what_the_driver_refuses_is_not_charged(void)
{
    uint64_t handle = 0;
    start();
    write_limits(ALL, 1000, 1ull << 60);
    for (size_t i = 0; i < FAMILIES; i++)
        CHECK(families[i].take(&handle, 1ull << 45) != CUDA_SUCCESS);
    CHECK(charged() == 0);
    CHECK(cuMemFree_v2(0x1234500) != CUDA_SUCCESS);
    CHECK(charged() == 0);
}

/* Libraries ask for physical memory before they have a context; the rest is the driver's to refuse. */
static void without_a_context_the_drivers_own_answers_come_through(void)
{
    uint64_t handle = 0;
    size_t free_bytes, total;
    OK(cuInit(0));
    CHECK(take_plain(&handle, MIB) == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(cuMemGetInfo_v2(&free_bytes, &total) == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(cuStreamSynchronize(NULL) == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_CONTEXT);
    OK(take_physical(&handle, 2 * MIB));
    start();
    CHECK(charged() == 2 * MIB);
    OK(give_physical(handle));
    CHECK(charged() == 0);
}

static void processes_of_a_pod_share_one_limit_and_a_killed_one_gives_back(void)
{
    int ready[2];
    char byte;
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        uint64_t handle;
        start_limited();
        OK(take_plain(&handle, 48 * MIB));
        CHECK(write(ready[1], "x", 1) == 1);
        pause();
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    uint64_t handle;
    start_limited();
    CHECK(charged() == 48 * MIB);
    CHECK(take_plain(&handle, 32 * MIB) == CUDA_ERROR_OUT_OF_MEMORY);
    OK(take_plain(&handle, 16 * MIB));
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    for (int i = 0; i < 600 && take_plain(&handle, 32 * MIB) != CUDA_SUCCESS; i++)
        pause_us(10000);
    CHECK(charged() == 48 * MIB);
}

static void a_fork_after_the_start_leaves_parent_and_child_in_order(void)
{
    uint64_t handle;
    int status;
    start_limited();
    OK(take_plain(&handle, 16 * MIB));
    OK(launch(kernel("narrow_us"), stream));
    resize(HALF, 500);
    pid_t child = fork();
    if (child == 0) {
        size_t free_bytes, total;
        cuMemGetInfo_v2(&free_bytes, &total);
        CHECK(slot()->pid == (uint32_t)getpid() && slot()->memory_bytes == 0);
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(charged() == 16 * MIB && slot()->memory_bytes == 16 * MIB);
    resize(QUARTER, 800);
    OK(launch(kernel("narrow_us"), stream));
    OK(cuStreamSynchronize(stream));
    OK(give_pointer(handle));
    CHECK(charged() == 0);
}

MAIN(CASE(every_family_stops_at_the_limit_and_goes_on_after_a_free),
     CASE(a_limit_below_what_is_used_refuses_and_kills_nothing),
     CASE(mapped_memory_is_charged_until_it_is_unmapped),
     CASE(what_the_driver_refuses_is_not_charged),
     CASE(without_a_context_the_drivers_own_answers_come_through),
     CASE(processes_of_a_pod_share_one_limit_and_a_killed_one_gives_back),
     CASE(a_fork_after_the_start_leaves_parent_and_child_in_order))
