/* Initialisation, resolution of functions, modules, memory, errors. */
#include <sys/wait.h>
#include <unistd.h>

#include "driver_case.h"

static void a_device_looks_like_an_h200(void)
{
    primary_context();
    int count, sms, major, version;
    size_t total;
    char name[64];
    OK(cuDeviceGetCount(&count));
    OK(cuDeviceGetName(name, sizeof name, 0));
    OK(cuDeviceTotalMem_v2(&total, 0));
    OK(cuDeviceGetAttribute(&sms, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
    OK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
    OK(cuDriverGetVersion(&version));
    CHECK(count == 2 && sms == H200_SMS && major == 9 && version == 13000);
    CHECK(strcmp(name, "NVIDIA H200") == 0 && total == 141000000000ull);
    CHECK(cuDeviceGet(&count, 2) == CUDA_ERROR_INVALID_DEVICE);
}

static void functions_resolve_by_name_version_and_flags(void)
{
    OK(cuInit(0));
    CHECK(resolve("cuMemAlloc", 12000, 0) == (void *)cuMemAlloc_v2);
    CHECK(resolve("cuLaunchKernel", 12000, 0) == (void *)cuLaunchKernel);
    CHECK(resolve("cuLaunchKernel", 12000, 2) == (void *)cuLaunchKernel_ptsz);
    CHECK(resolve("cuMemcpyHtoD", 12000, 2) == (void *)cuMemcpyHtoD_v2_ptds);
    CHECK(resolve("cuLaunchKernelEx", 12000, 2) != resolve("cuLaunchKernelEx", 12000, 0));
    CHECK(resolve("cuGetProcAddress", 11030, 0) == (void *)cuGetProcAddress);
    CHECK(resolve("cuGetProcAddress", 12000, 0) == (void *)cuGetProcAddress_v2);
}

static void what_cannot_be_resolved_says_why(void)
{
    void *function = &function;
    CUdriverProcAddressQueryResult status;
    CHECK(cuGetProcAddress_v2("cuGreenCtxCreate", &function, 12030, 0, &status) ==
          CUDA_ERROR_NOT_FOUND);
    CHECK(!function && status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
    CHECK(cuGetProcAddress_v2("cuMakeCoffee", &function, 13000, 0, &status) ==
          CUDA_ERROR_NOT_FOUND);
    CHECK(!function && status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
}

static void errors_have_names(void)
{
    const char *name, *text;
    OK(cuGetErrorName(CUDA_ERROR_OUT_OF_MEMORY, &name));
    OK(cuGetErrorString(CUDA_ERROR_OUT_OF_MEMORY, &text));
    CHECK(strcmp(name, "CUDA_ERROR_OUT_OF_MEMORY") == 0 && strcmp(text, "out of memory") == 0);
    CHECK(cuGetErrorName((CUresult)12345, &name) == CUDA_ERROR_INVALID_VALUE);
}

static void nothing_works_before_init_or_without_a_context(void)
{
    int count;
    CUstream stream;
    CHECK(cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED);
    OK(cuInit(0));
    CHECK(cuStreamCreate(&stream, 0) == CUDA_ERROR_INVALID_CONTEXT);
    CHECK(cuCtxSynchronize() == CUDA_ERROR_INVALID_CONTEXT);
}

static void a_forked_child_is_told_to_start_again(void)
{
    primary_context();
    pid_t child = fork();
    if (child == 0)
        _exit(cuCtxSynchronize() == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    OK(cuCtxSynchronize());
}

static void bad_images_are_refused(void)
{
    primary_context();
    CUmodule module;
    CUfunction function;
    CHECK(cuModuleLoadData(&module, "\x7f" "ELF") == CUDA_ERROR_INVALID_IMAGE);
    CHECK(cuModuleLoadData(&module, "HASEMU 1\nkernel a work_sm_ns=1 floor_ns=x max_sm=1\n") ==
          CUDA_ERROR_INVALID_IMAGE);
    CHECK(cuModuleLoadData(&module, "HASEMU 1\nkernel a work_sm_ns=1 floor_ns=1 max_sm=0\n") ==
          CUDA_ERROR_INVALID_IMAGE);
    OK(cuModuleLoadData(&module, image));
    CHECK(cuModuleGetFunction(&function, module, "absent") == CUDA_ERROR_NOT_FOUND);
    OK(cuModuleUnload(module));
}

static void impossible_launches_are_refused(void)
{
    primary_context();
    CUfunction wide = kernel("wide_ms");
    CHECK(cuLaunchKernel(wide, 0, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL) ==
          CUDA_ERROR_INVALID_VALUE);
    CHECK(cuLaunchKernel(wide, 1, 1, 1, 2048, 1, 1, 0, NULL, NULL, NULL) ==
          CUDA_ERROR_INVALID_VALUE);
    CHECK(cuLaunchKernel(NULL, 1, 1, 1, 32, 1, 1, 0, NULL, NULL, NULL) ==
          CUDA_ERROR_INVALID_HANDLE);
    OK(cuLaunchCooperativeKernel(wide, 132 * 2, 1, 1, 1024, 1, 1, 0, NULL, NULL));
    CHECK(cuLaunchCooperativeKernel(wide, 132 * 2 + 1, 1, 1, 1024, 1, 1, 0, NULL, NULL) ==
          CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
    OK(cuCtxSynchronize());
}

static size_t free_bytes(void)
{
    size_t available, total;
    OK(cuMemGetInfo_v2(&available, &total));
    return available;
}

static void memory_is_counted_and_ends(void)
{
    primary_context();
    size_t before = free_bytes();
    CUdeviceptr big, more;
    OK(cuMemAlloc_v2(&big, 140000000000ull));
    CHECK(free_bytes() == before - 140000000000ull);
    CHECK(cuMemAlloc_v2(&more, 2000000000ull) == CUDA_ERROR_OUT_OF_MEMORY);
    OK(cuMemFree_v2(big));
    CHECK(free_bytes() == before);
    CHECK(cuMemFree_v2(big) == CUDA_ERROR_INVALID_VALUE);
}

static void every_kind_of_allocation_is_counted_and_given_back(void)
{
    primary_context();
    size_t before = free_bytes(), pitch;
    CUdeviceptr pointers[3], range;
    CUarray array;
    CUmemGenericAllocationHandle handle;
    CUmemAllocationProp properties = {.type = 1, .location = {CU_MEM_LOCATION_TYPE_DEVICE, 0}};
    CUDA_ARRAY_DESCRIPTOR shape = {1024, 1024, CU_AD_FORMAT_FLOAT, 4};
    OK(cuMemAllocPitch_v2(&pointers[0], &pitch, 1000, 10, 4));
    OK(cuMemAllocManaged(&pointers[1], 4096, CU_MEM_ATTACH_GLOBAL));
    OK(cuMemAllocAsync(&pointers[2], 8192, NULL));
    OK(cuArrayCreate_v2(&array, &shape));
    OK(cuMemCreate(&handle, 2 << 20, &properties, 0));
    CHECK(before - free_bytes() == 1024 * 10 + 4096 + 8192 + (16 << 20) + (2 << 20));
    OK(cuMemAddressReserve(&range, 2 << 20, 0, 0, 0));
    OK(cuMemMap(range, 2 << 20, 0, handle, 0));
    OK(cuMemRelease(handle));
    CHECK(before - free_bytes() > 18 << 20); /* released, but mapped */
    OK(cuMemUnmap(range, 2 << 20));
    OK(cuMemAddressFree(range, 2 << 20));
    OK(cuArrayDestroy(array));
    OK(cuMemFreeAsync(pointers[2], NULL));
    OK(cuMemFree_v2(pointers[0]));
    OK(cuMemFree_v2(pointers[1]));
    CHECK(free_bytes() == before);
}

static void a_pool_keeps_what_its_threshold_says(void)
{
    primary_context();
    size_t before = free_bytes();
    CUmemoryPool pool;
    CUdeviceptr pointer;
    uint64_t threshold = 1 << 20, reserved;
    OK(cuDeviceGetDefaultMemPool(&pool, 0));
    OK(cuMemPoolSetAttribute(pool, 4, &threshold));
    OK(cuMemAllocAsync(&pointer, 4 << 20, NULL));
    OK(cuMemFreeAsync(pointer, NULL));
    OK(cuMemPoolGetAttribute(pool, 5, &reserved));
    CHECK(reserved == threshold && before - free_bytes() == threshold);
    OK(cuMemPoolTrimTo(pool, 0));
    CHECK(free_bytes() == before);
}

static void copies_move_bytes_and_take_time(void)
{
    primary_context();
    enum { BYTES = 5000000 };
    unsigned char *host = malloc(BYTES), *back = calloc(1, BYTES);
    CHECK(host && back);
    for (int i = 0; i < BYTES; i++)
        host[i] = (unsigned char)(i * 7);
    CUdeviceptr device;
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuMemAlloc_v2(&device, BYTES));
    CUevent start = record(stream);
    OK(cuMemcpyHtoDAsync_v2(device, host, BYTES, stream));
    CHECK_NEAR(between_ns(start, record(stream)), BYTES / 50.0 + 1500, 100);
    OK(cuMemsetD32Async(device, 0x01020304, 2, stream));
    OK(cuMemcpyDtoH_v2(back, device, BYTES));
    CHECK(back[0] == 4 && back[7] == 1 && memcmp(host + 8, back + 8, BYTES - 8) == 0);
    free(host);
    free(back);
}

static void faults_come_when_asked_for(void)
{
    setenv("HAS_EMULATOR_FAULT", "alloc_after=1,launch_after=2,green_after=0", 1);
    primary_context();
    CUdeviceptr pointer;
    CUfunction narrow = kernel("narrow_ms");
    OK(cuMemAlloc_v2(&pointer, 1024));
    CHECK(cuMemAlloc_v2(&pointer, 1024) == CUDA_ERROR_OUT_OF_MEMORY);
    OK(launch(narrow, NULL));
    OK(launch(narrow, NULL));
    CHECK(launch(narrow, NULL) == CUDA_ERROR_LAUNCH_FAILED);
}

MAIN(CASE(a_device_looks_like_an_h200), CASE(functions_resolve_by_name_version_and_flags),
     CASE(what_cannot_be_resolved_says_why), CASE(errors_have_names),
     CASE(nothing_works_before_init_or_without_a_context),
     CASE(a_forked_child_is_told_to_start_again), CASE(bad_images_are_refused),
     CASE(impossible_launches_are_refused), CASE(memory_is_counted_and_ends),
     CASE(every_kind_of_allocation_is_counted_and_given_back),
     CASE(a_pool_keeps_what_its_threshold_says), CASE(copies_move_bytes_and_take_time),
     CASE(faults_come_when_asked_for))
