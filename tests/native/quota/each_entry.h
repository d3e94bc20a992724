/* What each_entry.c and by_hand.c share. */
#ifndef EACH_ENTRY_H
#define EACH_ENTRY_H

#include <stdbool.h>

#include "../../../quota_runtime/include/has_abi.h"
#include "../emulator/check.h"
#include "recorder.h"

typedef CUresult (*hook_type)(uint64_t, ...);

/* Calls a hook with words of any integer or pointer type; x86-64 passes them alike. */
#define AS_WORD(x) (uint64_t)(x)
#define CALL(name, ...) CHECK(CALLED(name, ##__VA_ARGS__) == CUDA_SUCCESS)
#define CALLED(name, ...) hook(name)(MAP(AS_WORD, ##__VA_ARGS__))
#define CHECK_TEXT(found, wanted)                                                                 \
    do {                                                                                          \
        if (strcmp(found, wanted) != 0)                                                           \
            fprintf(stderr, "%s: found %s, wanted %s\n", getenv("ENTRY"), found, wanted);         \
        CHECK(strcmp(found, wanted) == 0);                                                        \
    } while (0)

struct entry {
    const char *name, *kind, *arguments;
    void (*run)(const struct entry *entry);
};

extern struct record *record;

/* The program's view of a driver function: what its dlsym gives. */
hook_type hook(const char *name);

struct has_usage_header *header(void);
struct has_usage_slot *slot(void);

/* A call that the driver saw, 0 = the last one. */
const struct seen *newest(unsigned back);

CUstream fresh_stream(void);
bool is_green(uint64_t stream);

/* The driver's stream on which a stream of the program is now; ends what is metered on it. */
uint64_t where(CUstream stream, bool per_thread);

void on_a_stream(const struct entry *entry);
void on_a_default_stream(const struct entry *entry);
void by_hand(const struct entry *entry);
void memory_entry(const struct entry *entry);
void loses_memory(const struct entry *entry);

#endif
