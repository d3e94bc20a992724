/* Declarations of everything exported under the driver's names. */
#ifndef HAS_EXPORTS_H
#define HAS_EXPORTS_H

#include "has_cuda.h"
#include "real.h"

#define H(name, kind, parameters, arguments) HAS_EXPORT CUresult name parameters;
#define P(name, kind, parameters, arguments) \
    HAS_EXPORT CUresult name parameters;     \
    HAS_EXPORT CUresult name##_ptsz parameters;
#define S P
#define D(name, kind, parameters, arguments) \
    HAS_EXPORT CUresult name parameters;     \
    HAS_EXPORT CUresult name##_ptds parameters;
#include "has_entries.def"

#endif
