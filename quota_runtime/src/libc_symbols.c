/* The C library's own dlsym and dlvsym, although we define both.
 *
 * No private symbol, no version string: the loaded C library's dynamic symbol table is read, so
 * every glibc works that has a GNU hash table (2.5 and later), also where libdl.so.2 is separate.
 */
#include "libc_symbols.h"

#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <string.h>

struct tables {
    const ElfW(Sym) * symbols;
    const char *names;
    const uint32_t *hash;
};

struct search {
    const char *name;
    void *found;
};

static uint32_t gnu_hash(const char *name)
{
    uint32_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash;
}

/* glibc relocates the addresses in the dynamic section of what it loads, the vDSO's are raw. */
static const void *address(const struct dl_phdr_info *info, ElfW(Addr) value)
{
    return (const void *)(value < info->dlpi_addr ? info->dlpi_addr + value : value);
}

static struct tables tables_of(const struct dl_phdr_info *info)
{
    struct tables tables = {0};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type != PT_DYNAMIC)
            continue;
        const ElfW(Dyn) *entry =
            (const ElfW(Dyn) *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
        for (; entry->d_tag != DT_NULL; entry++) {
            if (entry->d_tag == DT_SYMTAB)
                tables.symbols = address(info, entry->d_un.d_ptr);
            else if (entry->d_tag == DT_STRTAB)
                tables.names = address(info, entry->d_un.d_ptr);
            else if (entry->d_tag == DT_GNU_HASH)
                tables.hash = address(info, entry->d_un.d_ptr);
        }
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
            strcmp(tables->names + symbol->st_name, name) == 0)
            return symbol;
        if (value & 1)
            return NULL;
    }
}

static int visit(struct dl_phdr_info *info, size_t size, void *argument)
{
    struct search *search = argument;
    (void)size;
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *file = slash ? slash + 1 : info->dlpi_name;
    if (strncmp(file, "libc.so", 7) != 0 && strncmp(file, "libdl.so", 8) != 0 &&
        strncmp(file, "libc-2.", 7) != 0 && strncmp(file, "libdl-2.", 8) != 0)
        return 0;
    struct tables tables = tables_of(info);
    if (!tables.symbols || !tables.names || !tables.hash)
        return 0;
    const ElfW(Sym) *symbol = find(&tables, search->name);
    if (!symbol)
        return 0;
    search->found = (void *)(info->dlpi_addr + symbol->st_value);
    return 1;
}

void *has_libc_symbol(const char *name)
{
    struct search search = {.name = name};
    dl_iterate_phdr(visit, &search);
    return search.found;
}
