/* dlsym and dlvsym as the program sees them.
 *
 * The stubs first ask us and otherwise jump, not call, to the C library: it reads its caller from
 * the return address to serve RTLD_NEXT, so that must stay the program's.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "libc_symbols.h"
#include "real.h"

#define PASS_ON ((void *)-1)

typedef void *(*dlsym_type)(void *, const char *);
typedef void *(*dlvsym_type)(void *, const char *, const char *);

/* Only the stubs below use these. */
__attribute__((used, visibility("hidden"))) void *has_next_dlsym;
__attribute__((used, visibility("hidden"))) void *has_next_dlvsym;
__attribute__((used, visibility("hidden"))) void *has_lookup(void *, const char *, const char *);

#ifndef __x86_64__
#error "the dlsym stubs are written for x86-64"
#endif

/* The stack is 8 off at entry; three pushes make it even for the call. */
#define STUB(name, next, version_line)                                                            \
    __asm__(".text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n.cfi_startproc\n"    \
            "endbr64\npushq %rdi\n.cfi_adjust_cfa_offset 8\npushq %rsi\n"                          \
            ".cfi_adjust_cfa_offset 8\npushq %rdx\n.cfi_adjust_cfa_offset 8\n" version_line        \
            "call has_lookup\npopq %rdx\n.cfi_adjust_cfa_offset -8\npopq %rsi\n"                   \
            ".cfi_adjust_cfa_offset -8\npopq %rdi\n.cfi_adjust_cfa_offset -8\n"                    \
            "cmpq $-1, %rax\nje 1f\nret\n1: jmp *" #next "(%rip)\n.cfi_endproc\n"                  \
            ".size " #name ", .-" #name "\n")

STUB(dlsym, has_next_dlsym, "xorl %edx, %edx\n");
STUB(dlvsym, has_next_dlvsym, "");

static void *nothing(void)
{
    return NULL;
}

static void find_next(void)
{
    if (__atomic_load_n(&has_next_dlvsym, __ATOMIC_ACQUIRE))
        return;
    void *found = has_libc_symbol("dlsym");
    __atomic_store_n(&has_next_dlsym, found ? found : (void *)nothing, __ATOMIC_RELEASE);
    found = has_libc_symbol("dlvsym");
    __atomic_store_n(&has_next_dlvsym, found ? found : (void *)nothing, __ATOMIC_RELEASE);
}

void *has_libc_dlsym(void *handle, const char *name)
{
    find_next();
    return ((dlsym_type)has_next_dlsym)(handle, name);
}

/* The answer to the program, or PASS_ON where the C library shall give it. */
void *has_lookup(void *handle, const char *name, const char *version)
{
    find_next();
    if (!name || name[0] != 'c' || name[1] != 'u')
        return PASS_ON;
    void *pointer = NULL;
    if (handle == RTLD_NEXT)
        pointer = PASS_ON;
    else if (version)
        pointer = ((dlvsym_type)has_next_dlvsym)(handle, name, version);
    else
        pointer = ((dlsym_type)has_next_dlsym)(handle, name);
    if (!pointer)
        return PASS_ON;
    void *routed = has_route_pointer(name, pointer == PASS_ON ? NULL : pointer);
    return routed == pointer || (pointer == PASS_ON && !routed) ? PASS_ON : routed;
}
