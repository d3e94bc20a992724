/* What the recording driver saw; shared by recorder.c (a libcuda.so.1) and each_entry.c. */
#ifndef RECORDER_H
#define RECORDER_H

#include "../../../quota_runtime/include/has_cuda.h"

#define WORDS 16

struct seen {
    const char *name;
    int count;
    uint64_t word[WORDS];
    unsigned size[WORDS]; /* bytes of the parameter; the rest of a word means nothing */
};

struct record {
    unsigned total;        /* calls of entry points ever */
    struct seen last[256]; /* ring, last[(total - 1) % 256] is the newest */
    CUstream green[64];    /* streams made on green contexts */
    unsigned greens;
    uint64_t placed[3];    /* contexts that nodes of a graph were given, by their type */
};

typedef struct record *(*record_type)(void);

#define SM_COUNT 132
#define WHOLE_GRAPH 0x77000ull       /* the only graph that can be copied */
#define CLUSTER_FUNCTION 0x912000ull /* its launches fail the first time */

#define MAP0(m)
#define MAP1(m, a) m(a)
#define MAP2(m, a, ...) m(a), MAP1(m, __VA_ARGS__)
#define MAP3(m, a, ...) m(a), MAP2(m, __VA_ARGS__)
#define MAP4(m, a, ...) m(a), MAP3(m, __VA_ARGS__)
#define MAP5(m, a, ...) m(a), MAP4(m, __VA_ARGS__)
#define MAP6(m, a, ...) m(a), MAP5(m, __VA_ARGS__)
#define MAP7(m, a, ...) m(a), MAP6(m, __VA_ARGS__)
#define MAP8(m, a, ...) m(a), MAP7(m, __VA_ARGS__)
#define MAP9(m, a, ...) m(a), MAP8(m, __VA_ARGS__)
#define MAP10(m, a, ...) m(a), MAP9(m, __VA_ARGS__)
#define MAP11(m, a, ...) m(a), MAP10(m, __VA_ARGS__)
#define PICK(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, n, ...) n
#define CHOOSE(m, ...)                                                                            \
    PICK(0 __VA_OPT__(, ) __VA_ARGS__, MAP11, MAP10, MAP9, MAP8, MAP7, MAP6, MAP5, MAP4, MAP3,    \
         MAP2, MAP1, MAP0)(m __VA_OPT__(, ) __VA_ARGS__)
#define MAP(m, ...) CHOOSE(m, __VA_ARGS__) /* expands the arguments first */
#define INSIDE(...) __VA_ARGS__

#endif
