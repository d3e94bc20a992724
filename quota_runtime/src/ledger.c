#include "ledger.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct row {
    uint64_t handle;
    uint64_t bytes;
    uint32_t kind; /* 0 = never used, GONE = used once */
    uint32_t holders;
};

#define GONE 255u
#define MAPPING 254u /* `bytes` is the physical handle */
#define FIRST_ROWS 1024u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct row *rows;
static size_t size, used; /* `used` counts rows that are not 0, gone ones too */

static size_t place(uint32_t kind, uint64_t handle, size_t rows_size)
{
    return (size_t)(((handle >> 4) ^ kind) * 0x9e3779b97f4a7c15ull >> 20) & (rows_size - 1);
}

static struct row *find(uint32_t kind, uint64_t handle)
{
    if (!size)
        return NULL;
    for (size_t i = place(kind, handle, size);; i = (i + 1) & (size - 1)) {
        if (!rows[i].kind)
            return NULL;
        if (rows[i].kind == kind && rows[i].handle == handle)
            return &rows[i];
    }
}

/* Room for more rows: twice the table, or the same without the rows that are gone. */
static bool grow(void)
{
    size_t live = 0;
    for (size_t i = 0; i < size; i++)
        live += rows[i].kind && rows[i].kind != GONE;
    size_t next = !size ? FIRST_ROWS : live * 2 > size ? size * 2 : size;
    struct row *fresh = calloc(next, sizeof(*fresh));
    if (!fresh)
        return false;
    used = 0;
    for (size_t i = 0; i < size; i++) {
        if (!rows[i].kind || rows[i].kind == GONE)
            continue;
        size_t at = place(rows[i].kind, rows[i].handle, next);
        while (fresh[at].kind)
            at = (at + 1) & (next - 1);
        fresh[at] = rows[i];
        used++;
    }
    free(rows);
    rows = fresh;
    size = next;
    return true;
}

void has_ledger_add(enum has_ledger_kind kind, uint64_t handle, uint64_t bytes)
{
    pthread_mutex_lock(&lock);
    if (used * 4 < size * 3 || grow()) {
        size_t at = place(kind, handle, size);
        while (rows[at].kind && rows[at].kind != GONE)
            at = (at + 1) & (size - 1);
        used += rows[at].kind == 0;
        rows[at] = (struct row){handle, bytes, kind, 1};
    }
    pthread_mutex_unlock(&lock);
}

uint64_t has_ledger_get(enum has_ledger_kind kind, uint64_t handle)
{
    pthread_mutex_lock(&lock);
    struct row *row = find(kind, handle);
    uint64_t bytes = row ? row->bytes : 0;
    pthread_mutex_unlock(&lock);
    return bytes;
}

uint64_t has_ledger_remove(enum has_ledger_kind kind, uint64_t handle)
{
    pthread_mutex_lock(&lock);
    struct row *row = find(kind, handle);
    uint64_t bytes = row ? row->bytes : 0;
    if (row)
        row->kind = GONE;
    pthread_mutex_unlock(&lock);
    return bytes;
}

void has_ledger_retain(enum has_ledger_kind kind, uint64_t handle)
{
    pthread_mutex_lock(&lock);
    struct row *row = find(kind, handle);
    if (row)
        row->holders++;
    pthread_mutex_unlock(&lock);
}

uint64_t has_ledger_release(enum has_ledger_kind kind, uint64_t handle)
{
    pthread_mutex_lock(&lock);
    struct row *row = find(kind, handle);
    uint64_t bytes = 0;
    if (row && --row->holders == 0) {
        bytes = row->bytes;
        row->kind = GONE;
    }
    pthread_mutex_unlock(&lock);
    return bytes;
}

void has_ledger_map(uint64_t address, uint64_t bytes, uint64_t physical)
{
    (void)bytes;
    has_ledger_add((enum has_ledger_kind)MAPPING, address, physical);
}

bool has_ledger_unmap(uint64_t address, uint64_t bytes, uint64_t *physical)
{
    bool found = false;
    pthread_mutex_lock(&lock);
    struct row *row = find(MAPPING, address);
    for (size_t i = 0; !row && i < size; i++)
        if (rows[i].kind == MAPPING && rows[i].handle >= address &&
            rows[i].handle - address < bytes)
            row = &rows[i];
    if (row) {
        *physical = row->bytes;
        row->kind = GONE;
        found = true;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void has_ledger_clear(void)
{
    pthread_mutex_lock(&lock);
    if (rows)
        memset(rows, 0, size * sizeof(*rows));
    used = 0;
    pthread_mutex_unlock(&lock);
}

void has_ledger_reset(void)
{
    pthread_mutex_init(&lock, NULL);
    has_ledger_clear();
}
