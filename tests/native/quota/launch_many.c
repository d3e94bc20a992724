/* launch_many N: N launches and nothing else, to count what one of them costs. Prints how many calls
 * the recording driver saw. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

#include "../emulator/check.h"
#include "../../../quota_runtime/include/has_cuda.h"
#include "recorder.h"

typedef CUresult (*launch_type)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned,
                                unsigned, unsigned, CUstream, void **, void **);
typedef CUresult (*retain_type)(CUcontext *, CUdevice);

int main(int argc, char **argv)
{
    CUcontext context;
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    CHECK(argc == 2 && driver);
    launch_type launch = (launch_type)dlsym(driver, "cuLaunchKernel");
    CHECK(((retain_type)dlsym(driver, "cuDevicePrimaryCtxRetain"))(&context, 0) == CUDA_SUCCESS);
    for (int i = 0; i < atoi(argv[1]); i++)
        CHECK(launch((CUfunction)0x7000, 1, 1, 1, 32, 1, 1, 0, (CUstream)0x8000, NULL, NULL) == 0);
    record_type seen = (record_type)dlsym(driver, "hasRecord");
    if (seen)
        printf("%u\n", seen()->total);
    return 0;
}
