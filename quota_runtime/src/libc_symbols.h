#ifndef HAS_LIBC_SYMBOLS_H
#define HAS_LIBC_SYMBOLS_H

/* Address of a function of libc.so or libdl.so itself, or NULL. */
void *has_libc_symbol(const char *name);

#endif
