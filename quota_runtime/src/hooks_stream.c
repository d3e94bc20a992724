/* The hooks that only gate, meter and redirect: generated from the list of entries. */
#include "call.h"
#include "exports.h"

#define UNPACK(...) __VA_ARGS__

#define STREAM_HOOK(name, kind, parameters, arguments, per_thread)                        \
    HAS_EXPORT CUresult name parameters                                                   \
    {                                                                                     \
        if (!has_ready() || !has_real.name)                                               \
            return CUDA_ERROR_NOT_INITIALIZED;                                            \
        struct has_call call = has_enter(HAS_##kind, has_real.name, 0, stream, per_thread); \
        stream = call.stream;                                                             \
        CUresult result = has_real.name arguments;                                        \
        has_leave(&call, result);                                                         \
        return result;                                                                    \
    }

#define DEFAULT_HOOK(name, kind, parameters, arguments, per_thread)                       \
    HAS_EXPORT CUresult name parameters                                                   \
    {                                                                                     \
        if (!has_ready() || !has_real.name)                                               \
            return CUDA_ERROR_NOT_INITIALIZED;                                            \
        struct has_call call = has_enter(HAS_##kind, has_real.name, 0, NULL, per_thread); \
        has_sm_before_default(call.lane);                                                     \
        CUresult result = has_real.name arguments;                                        \
        has_sm_after_default(call.lane);                                                      \
        has_leave(&call, result);                                                         \
        return result;                                                                    \
    }

#define S(name, kind, parameters, arguments)                 \
    STREAM_HOOK(name, kind, parameters, arguments, false)    \
    STREAM_HOOK(name##_ptsz, kind, parameters, arguments, true)
#define D(name, kind, parameters, arguments)                 \
    DEFAULT_HOOK(name, kind, parameters, arguments, false)   \
    DEFAULT_HOOK(name##_ptds, kind, parameters, arguments, true)

#include "has_entries.def"
