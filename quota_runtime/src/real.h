/* The driver's own functions, found once, and the way from them to our hooks. */
#ifndef HAS_REAL_H
#define HAS_REAL_H

#include <stdbool.h>
#include <stddef.h>

#include "has_cuda.h"

#define HAS_EXPORT __attribute__((visibility("default")))

/* One typed pointer per entry, in the order of has_entries.def; NULL where the driver has none. */
struct has_real_entries {
#define H(name, kind, parameters, arguments) CUresult(*name) parameters;
#define P(name, kind, parameters, arguments) \
    CUresult(*name) parameters;              \
    CUresult(*name##_ptsz) parameters;
#define S P
#define D(name, kind, parameters, arguments) \
    CUresult(*name) parameters;              \
    CUresult(*name##_ptds) parameters;
#include "has_entries.def"
};

struct has_real_uses {
#define U(name, parameters) CUresult(*name) parameters;
#include "has_uses.def"
};

extern struct has_real_entries has_real;
extern struct has_real_uses has_use;

/* Finds the driver's functions on the first call; cheap afterwards. False: no driver here. */
bool has_real_find(void);

/* What the loader's dlsym of (handle, name) gave to the program, as the program shall see it. */
void *has_route_pointer(const char *name, void *pointer);

/* Whether a driver of the process has been looked into already. */
bool has_real_found(void);

/* The C library's own lookups, found by reading its symbol table. */
void *has_libc_dlsym(void *handle, const char *name);

#endif
