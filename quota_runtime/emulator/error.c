/* Names of errors. */
#include "entries.h"

#define ERRORS(E)                                                                                  \
    E(CUDA_SUCCESS, "no error")                                                                    \
    E(CUDA_ERROR_INVALID_VALUE, "invalid argument")                                                \
    E(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")                                                   \
    E(CUDA_ERROR_NOT_INITIALIZED, "initialization error")                                          \
    E(CUDA_ERROR_DEINITIALIZED, "driver shutting down")                                            \
    E(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")                                  \
    E(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")                                         \
    E(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid")                                  \
    E(CUDA_ERROR_INVALID_CONTEXT, "invalid device context")                                        \
    E(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle")                                        \
    E(CUDA_ERROR_ILLEGAL_STATE, "the operation cannot be performed in the present state")          \
    E(CUDA_ERROR_NOT_FOUND, "named symbol not found")                                              \
    E(CUDA_ERROR_NOT_READY, "device not ready")                                                    \
    E(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")                      \
    E(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")               \
    E(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed")                                     \
    E(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")                                      \
    E(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch")            \
    E(CUDA_ERROR_NOT_PERMITTED, "operation not permitted")                                         \
    E(CUDA_ERROR_NOT_SUPPORTED, "operation not supported")                                         \
    E(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing")   \
    E(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous capture error")   \
    E(CUDA_ERROR_STREAM_CAPTURE_MERGE, "operation would result in a merge of captures")            \
    E(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not initiated in this stream")             \
    E(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work")                    \
    E(CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency on uncaptured work in another stream")      \
    E(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would depend on the legacy stream")           \
    E(CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capture") \
    E(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "capture was started by another thread")             \
    E(CUDA_ERROR_INVALID_CLUSTER_SIZE, "cluster size is invalid or does not fit")                  \
    E(CUDA_ERROR_INVALID_RESOURCE_TYPE, "invalid resource type")                                   \
    E(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION, "invalid resource configuration")                 \
    E(CUDA_ERROR_STREAM_DETACHED, "stream is detached")                                            \
    E(CUDA_ERROR_UNKNOWN, "unknown error")

#define NAME_CASE(error, text)                                                                     \
    case error:                                                                                    \
        return #error;
#define TEXT_CASE(error, text)                                                                     \
    case error:                                                                                    \
        return text;

static const char *name_of(CUresult result)
{
    switch (result) {
        ERRORS(NAME_CASE)
    }
    return NULL;
}

static const char *text_of(CUresult result)
{
    switch (result) {
        ERRORS(TEXT_CASE)
    }
    return NULL;
}

CUresult cuGetErrorName(CUresult result, const char **text)
{
    if (!text)
        return CUDA_ERROR_INVALID_VALUE;
    *text = name_of(result);
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult result, const char **text)
{
    if (!text)
        return CUDA_ERROR_INVALID_VALUE;
    *text = text_of(result);
    return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
