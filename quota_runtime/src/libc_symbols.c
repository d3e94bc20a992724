/* The C library's own dlsym and dlvsym, although we define both.
 *
 * No private symbol, no version string: the dynamic symbol table of the library that has dladdr is
 * read, so every glibc works that has a GNU hash table (2.5 and later), also where libdl.so.2 is
 * separate. Nothing is called that a sanitizer's runtime may stand in front of: it is not ready yet
 * when it asks for its first symbol.
 */
#include "libc_symbols.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>

struct tables {
    const ElfW(Sym) * symbols;
    const char *names;
    const uint32_t *hash;
};

static uint32_t gnu_hash(const char *name)
{
    uint32_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

static int is_same(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static struct tables tables_of(const struct link_map *map)
{
    struct tables tables = {0};
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        /* glibc has relocated the addresses in the dynamic section of what it loads. */
        const void *at = (const void *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_SYMTAB)
            tables.symbols = at;
        else if (entry->d_tag == DT_STRTAB)
            tables.names = at;
        else if (entry->d_tag == DT_GNU_HASH)
            tables.hash = at;
    }
    return tables;
}

static const ElfW(Sym) * find(const struct tables *tables, const char *name)
{
    const uint32_t *hash = tables->hash;
    uint32_t bucket_count = hash[0], first = hash[1], bloom_words = hash[2];
    const uint32_t *buckets = hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / sizeof(uint32_t));
    const uint32_t *chain = buckets + bucket_count;
    uint32_t wanted = gnu_hash(name), index = buckets[wanted % bucket_count];
    if (index < first)
        return NULL;
    for (;; index++) {
        uint32_t value = chain[index - first];
        const ElfW(Sym) *symbol = &tables->symbols[index];
        if ((value | 1) == (wanted | 1) && symbol->st_shndx != SHN_UNDEF &&
            is_same(tables->names + symbol->st_name, name))
            return symbol;
        if (value & 1)
            return NULL;
    }
}

void *has_libc_symbol(const char *name)
{
    struct link_map *map = NULL;
    Dl_info info;
    if (!dladdr1((void *)dladdr, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
        return NULL;
    struct tables tables = tables_of(map);
    const ElfW(Sym) *symbol =
        tables.symbols && tables.names && tables.hash ? find(&tables, name) : NULL;
    return symbol ? (void *)(map->l_addr + symbol->st_value) : NULL;
}
