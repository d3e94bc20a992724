/* A device with a current context and some kernels, for tests of the driver. */
#ifndef DRIVER_CASE_H
#define DRIVER_CASE_H

#include "../../../quota_runtime/emulator/entries.h"
#include "check.h"

#define OK(call) CHECK((call) == CUDA_SUCCESS)
#define MS 1e6
#define H200_SMS 132

/* wide_ms: 1 ms on all 132 SMs; narrow_ms: 1 ms and only one SM; floor_ms: never below 1 ms. */
static const char image[] = "HASEMU 1\n"
                            "kernel wide_ms work_sm_ns=132000000 floor_ns=2000 max_sm=132\n"
                            "kernel narrow_ms work_sm_ns=1000000 floor_ns=2000 max_sm=1\n"
                            "kernel floor_ms work_sm_ns=132 floor_ns=1000000 max_sm=132\n"
                            "kernel wide_100us work_sm_ns=13200000 floor_ns=2000 max_sm=132\n"
                            "kernel narrow_us work_sm_ns=2000 floor_ns=2000 max_sm=1\n";

static CUcontext primary_context(void)
{
    CUcontext context;
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    return context;
}

static CUfunction kernel(const char *name)
{
    CUmodule module;
    CUfunction function;
    OK(cuModuleLoadData(&module, image));
    OK(cuModuleGetFunction(&function, module, name));
    return function;
}

static CUstream new_stream(unsigned flags)
{
    CUstream stream;
    OK(cuStreamCreate(&stream, flags));
    return stream;
}

static CUevent new_event(void)
{
    CUevent event;
    OK(cuEventCreate(&event, CU_EVENT_DEFAULT));
    return event;
}

static CUresult launch(CUfunction function, CUstream stream)
{
    return cuLaunchKernel(function, H200_SMS, 1, 1, 256, 1, 1, 0, stream, NULL, NULL);
}

static CUevent record(CUstream stream)
{
    CUevent event = new_event();
    OK(cuEventRecord(event, stream));
    return event;
}

/* Simulated nanoseconds between two events, waiting for both. */
static double between_ns(CUevent start, CUevent end)
{
    float ms;
    OK(cuEventSynchronize(start));
    OK(cuEventSynchronize(end));
    OK(cuEventElapsedTime(&ms, start, end));
    return ms * MS;
}

static void *resolve(const char *name, int version, uint64_t flags)
{
    void *function = NULL;
    CUdriverProcAddressQueryResult status;
    CUresult result = cuGetProcAddress_v2(name, &function, version, flags, &status);
    CHECK((result == CUDA_SUCCESS) == (function != NULL));
    return function;
}

#endif
