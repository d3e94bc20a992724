/* Modules: text images that say how much work each kernel is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entries.h"
#include "objects.h"

#define IMAGE_HEADER "HASEMU 1\n"
#define NAME_BYTES 256
#define THREADS_PER_SM 2048
#define BLOCKS_PER_SM 32

static bool parse_line(const char *line, struct CUfunc_st *function)
{
    char name[NAME_BYTES];
    long long work, floor;
    int max_sm, used = 0;
    if (sscanf(line, "kernel %255s work_sm_ns=%lld floor_ns=%lld max_sm=%d%n", name, &work, &floor,
               &max_sm, &used) != 4 ||
        (line[used] != '\n' && line[used] != '\0') || work < 0 || floor < 0 || max_sm < 1)
        return false;
    function->name = strdup(name);
    function->work_sm_ns = (double)work;
    function->floor_ns = (double)floor;
    function->max_sm = max_sm;
    return function->name != NULL;
}

static void free_module(CUmodule module)
{
    for (int i = 0; i < module->function_count; i++)
        free(module->functions[i].name);
    free(module->functions);
    module->kind = 0;
    free(module);
}

static bool parse_image(const char *text, CUmodule module)
{
    if (strncmp(text, IMAGE_HEADER, strlen(IMAGE_HEADER)) != 0)
        return false;
    int lines = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        lines++;
    module->functions = calloc((size_t)lines + 1, sizeof *module->functions);
    for (const char *line = text + strlen(IMAGE_HEADER); module->functions && line && *line;) {
        struct CUfunc_st *function = &module->functions[module->function_count];
        if (*line != '\n') {
            if (!parse_line(line, function))
                return false;
            function->module = module;
            module->function_count++;
        }
        line = strchr(line, '\n');
        line += line != NULL;
    }
    return module->functions != NULL;
}

CUresult cuModuleLoadData(CUmodule *made, const void *image)
{
    CUcontext context;
    CUresult result = context_required(&context);
    if (result != CUDA_SUCCESS)
        return result;
    CUmodule module = made && image ? calloc(1, sizeof *module) : NULL;
    if (!module)
        return made && image ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_VALUE;
    module->kind = KIND_MODULE;
    module->context = context;
    if (!parse_image(image, module)) {
        free_module(module);
        return CUDA_ERROR_INVALID_IMAGE;
    }
    *made = module;
    return CUDA_SUCCESS;
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options,
                            void **values)
{
    (void)count, (void)options, (void)values; /* options of a compiler that is not there */
    return cuModuleLoadData(module, image);
}

CUresult cuModuleLoadFatBinary(CUmodule *module, const void *image)
{
    return cuModuleLoadData(module, image);
}

CUresult cuModuleLoad(CUmodule *module, const char *path)
{
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return path ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
    char *text = NULL;
    size_t size = 0;
    bool read = getdelim(&text, &size, '\0', file) >= 0;
    fclose(file);
    CUresult result = read ? cuModuleLoadData(module, text) : CUDA_ERROR_INVALID_IMAGE;
    free(text);
    return result;
}

CUresult cuModuleUnload(CUmodule module)
{
    if (!module || module->kind != KIND_MODULE)
        return CUDA_ERROR_INVALID_HANDLE;
    free_module(module);
    return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
    if (!function || !name)
        return CUDA_ERROR_INVALID_VALUE;
    if (!module || module->kind != KIND_MODULE)
        return CUDA_ERROR_INVALID_HANDLE;
    for (int i = 0; i < module->function_count; i++)
        if (strcmp(module->functions[i].name, name) == 0) {
            *function = &module->functions[i];
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}

CUresult cuModuleGetFunctionCount(unsigned *count, CUmodule module)
{
    if (!count || !module || module->kind != KIND_MODULE)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (unsigned)module->function_count;
    return CUDA_SUCCESS;
}

/* A library is a module that needs no context to be loaded; here it takes the current one. */
CUresult cuLibraryLoadData(CUlibrary *library, const void *image, int *jit, void **jit_values,
                           unsigned jit_count, int *options, void **values, unsigned count)
{
    (void)jit, (void)jit_values, (void)jit_count, (void)options, (void)values, (void)count;
    CUresult result = cuModuleLoadData((CUmodule *)library, image);
    if (result == CUDA_SUCCESS)
        ((CUmodule)*library)->library = true;
    return result;
}

CUresult cuLibraryUnload(CUlibrary library)
{
    return cuModuleUnload((CUmodule)library);
}

CUresult cuLibraryGetModule(CUmodule *module, CUlibrary library)
{
    if (!module || !library)
        return CUDA_ERROR_INVALID_VALUE;
    *module = (CUmodule)library;
    return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernel(CUkernel *kernel, CUlibrary library, const char *name)
{
    return cuModuleGetFunction((CUfunction *)kernel, (CUmodule)library, name);
}

CUresult cuKernelGetFunction(CUfunction *function, CUkernel kernel)
{
    if (!function || !kernel)
        return CUDA_ERROR_INVALID_VALUE;
    *function = (CUfunction)kernel;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetModule(CUmodule *module, CUfunction function)
{
    if (!module || !function)
        return CUDA_ERROR_INVALID_VALUE;
    *module = function->module;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char **name, CUfunction function)
{
    if (!name || !function)
        return CUDA_ERROR_INVALID_VALUE;
    *name = function->name;
    return CUDA_SUCCESS;
}

CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction function)
{
    if (!value || !function)
        return CUDA_ERROR_INVALID_VALUE;
    *value = attribute == 0 ? 1024 : 0; /* threads per block; the rest needs a real kernel */
    return CUDA_SUCCESS;
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value)
{
    (void)attribute, (void)value;
    return function ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads,
                                                     size_t shared_bytes)
{
    (void)shared_bytes;
    if (!blocks || !function || threads < 1 || threads > 1024)
        return CUDA_ERROR_INVALID_VALUE;
    *blocks = THREADS_PER_SM / threads < BLOCKS_PER_SM ? THREADS_PER_SM / threads : BLOCKS_PER_SM;
    return CUDA_SUCCESS;
}
