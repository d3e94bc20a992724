/* One entry of has_entries.def after the other through its hook, over the recording driver:
 * each_entry --list | --all | NAME. The library runs with half of the SMs and no other limit.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "each_entry.h"

static void *driver;
struct record *record;
static struct has_usage_header *usage;
static CUstream next_stream = (CUstream)0x5000000;
static char pad[WORDS][4096]; /* what pointer arguments point to */

hook_type hook(const char *name)
{
    void *found = dlsym(driver, name);
    if (!found)
        fprintf(stderr, "%s: no such symbol\n", name);
    CHECK(found);
    return (hook_type)found;
}

struct has_usage_header *header(void)
{
    return usage;
}

struct has_usage_slot *slot(void)
{
    struct has_usage_slot *slots = (struct has_usage_slot *)(usage + 1);
    for (unsigned i = 0; i < HAS_USAGE_SLOTS; i++)
        if (slots[i].state == HAS_SLOT_LIVE && slots[i].pid == (uint32_t)getpid())
            return &slots[i];
    CHECK(!"a slot of this process");
    return NULL;
}

const struct seen *newest(unsigned back)
{
    CHECK(record->total > back);
    return &record->last[(record->total - 1 - back) % 256];
}

CUstream fresh_stream(void)
{
    return next_stream = (CUstream)((char *)next_stream + 4096);
}

bool is_green(uint64_t stream)
{
    for (unsigned i = 0; i < record->greens; i++)
        if ((uint64_t)record->green[i] == stream)
            return true;
    return false;
}

uint64_t where(CUstream stream, bool per_thread)
{
    CALL(per_thread ? "cuStreamQuery_ptsz" : "cuStreamQuery", stream);
    return newest(0)->word[0];
}

static void map_usage(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/usage", getenv("KSERVE_HAS_DIR"));
    int file = open(path, O_RDWR);
    CHECK(file >= 0);
    size_t size = sizeof *usage + HAS_USAGE_SLOTS * sizeof(struct has_usage_slot);
    usage = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    CHECK(usage != MAP_FAILED);
    close(file);
}

static void start(void)
{
    CUcontext context;
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    CHECK(driver);
    record = ((record_type)dlsym(driver, "hasRecord"))();
    CALL("cuDevicePrimaryCtxRetain", &context, 0);
    map_usage();
    CUstream stream = fresh_stream();
    for (int i = 0; i < 2000 && !is_green(where(stream, false)); i++)
        usleep(1000);
    CHECK(is_green(where(stream, false)));
}

/* --- entries that are ordered on a stream or on a default stream ---------------------------- */

static int place_of_stream(const char *arguments)
{
    const char *at = strstr(arguments, "stream");
    int place = 0;
    for (const char *c = arguments; at && c < at; c++)
        place += *c == ',';
    return at ? place : -1;
}

static void fill(uint64_t *words)
{
    for (int i = 0; i < WORDS; i++)
        words[i] = (uint64_t)pad[i];
}

static CUresult call(const char *name, const uint64_t *w)
{
    return hook(name)(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11]);
}

/* The driver got every word that the program gave, the stream apart. */
static void check_words(const struct seen *seen, const char *name, const uint64_t *words, int stream)
{
    CHECK_TEXT(seen->name, name);
    for (int i = 0; i < seen->count; i++) {
        uint64_t mask = seen->size[i] >= 8 ? ~0ull : (1ull << seen->size[i] * 8) - 1;
        if (i != stream)
            CHECK((seen->word[i] & mask) == (words[i] & mask));
    }
}

static void check_stream(const struct entry *entry, CUstream stream, bool per_thread)
{
    uint64_t words[WORDS], physical = where(stream, per_thread);
    int place = place_of_stream(entry->arguments);
    bool work = strcmp(entry->kind, "COPY") == 0 || strcmp(entry->kind, "FILL") == 0;
    fill(words);
    words[place] = (uint64_t)stream;
    CHECK(is_green(physical));
    unsigned before = record->total;
    CHECK(call(entry->name, words) == CUDA_SUCCESS);
    unsigned calls = record->total - before;
    check_words(newest(0), entry->name, words, place);
    CHECK(newest(0)->word[place] == physical);
    /* Work is metered: it begins with an event of ours. */
    CHECK(calls == (work ? 2 : 1));
    if (work)
        CHECK_TEXT(newest(1)->name, "cuEventRecord");
}

void on_a_stream(const struct entry *entry)
{
    bool per_thread = strstr(entry->name, "_ptsz") != NULL;
    check_stream(entry, fresh_stream(), per_thread);
    check_stream(entry, NULL, per_thread);
    check_stream(entry, CU_STREAM_PER_THREAD, per_thread);
    CHECK(where(NULL, true) != where(NULL, false));
    CHECK(where(CU_STREAM_LEGACY, true) == where(NULL, false));
}

/* The driver's default stream waits for ours before the call, and ours for it afterwards. */
void on_a_default_stream(const struct entry *entry)
{
    uint64_t words[WORDS];
    bool per_thread = strstr(entry->name, "_ptds") != NULL;
    uint64_t physical = where(NULL, per_thread), app = per_thread ? 2 : 0;
    fill(words);
    CHECK(call(entry->name, words) == CUDA_SUCCESS);
    check_words(newest(2), entry->name, words, -1);
    CHECK_TEXT(newest(4)->name, "cuEventRecord");
    CHECK(newest(4)->word[1] == physical);
    CHECK_TEXT(newest(3)->name, "cuStreamWaitEvent");
    CHECK(newest(3)->word[0] == app && newest(3)->word[1] == newest(4)->word[0]);
    CHECK_TEXT(newest(1)->name, "cuEventRecord");
    CHECK(newest(1)->word[1] == app);
    CHECK_TEXT(newest(0)->name, "cuStreamWaitEvent");
    CHECK(newest(0)->word[0] == physical && newest(0)->word[1] == newest(1)->word[0]);
    CHECK_TEXT(newest(5)->name, "cuEventRecord"); /* metered */
}

/* --- the list ------------------------------------------------------------------------------ */

static const struct entry entries[] = {
#define TEXT(...) #__VA_ARGS__
#define H(name, kind, parameters, arguments) {#name, #kind, TEXT arguments, by_hand},
#define P(name, kind, parameters, arguments)                                                      \
    {#name, #kind, TEXT arguments, by_hand}, {#name "_ptsz", #kind, TEXT arguments, by_hand},
#define S(name, kind, parameters, arguments)                                                      \
    {#name, #kind, TEXT arguments, on_a_stream},                                                  \
        {#name "_ptsz", #kind, TEXT arguments, on_a_stream},
#define D(name, kind, parameters, arguments)                                                      \
    {#name, #kind, TEXT arguments, on_a_default_stream},                                          \
        {#name "_ptds", #kind, TEXT arguments, on_a_default_stream},
#include "../../../quota_runtime/include/has_entries.def"
};

int main(int argc, char **argv)
{
    bool all = argc == 2 && strcmp(argv[1], "--all") == 0, found = all;
    CHECK(argc == 2);
    if (strcmp(argv[1], "--list") != 0)
        start();
    for (unsigned i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        if (strcmp(argv[1], "--list") == 0)
            puts(entries[i].name);
        else if (all || strcmp(argv[1], entries[i].name) == 0) {
            setenv("ENTRY", entries[i].name, 1);
            entries[i].run(&entries[i]);
            found = true;
        }
    }
    return found || strcmp(argv[1], "--list") == 0 ? 0 : 2;
}
