/* The entries whose hooks are written by hand: what each of them must do. */
#include <dlfcn.h>
#include <unistd.h>

#include "each_entry.h"

#define HALF_SMS 64
#define FUNCTION ((void *)0x77000)

static bool is(const struct entry *entry, const char *base)
{
    size_t length = strlen(base);
    return strncmp(entry->name, base, length) == 0 &&
           (!entry->name[length] || strcmp(entry->name + length, "_ptsz") == 0);
}

static bool per_thread(const struct entry *entry)
{
    return strstr(entry->name, "_ptsz") != NULL;
}

/* --- launches ------------------------------------------------------------------------------ */

static CUresult launch_on(const struct entry *entry, CUstream stream)
{
    CUlaunchConfig config = {2, 3, 4, 5, 6, 7, 8, stream, NULL, 0};
    if (is(entry, "cuLaunchKernelEx"))
        return CALLED(entry->name, &config, FUNCTION, &config, NULL);
    if (is(entry, "cuLaunchKernel"))
        return CALLED(entry->name, FUNCTION, 2, 3, 4, 5, 6, 7, 8, stream, 9, 10);
    if (is(entry, "cuLaunchCooperativeKernel"))
        return CALLED(entry->name, FUNCTION, 2, 3, 4, 5, 6, 7, 8, stream, 9);
    if (is(entry, "cuGraphLaunch"))
        return CALLED(entry->name, FUNCTION, stream);
    if (is(entry, "cuLaunchGridAsync"))
        return CALLED(entry->name, FUNCTION, 2, 3, stream);
    return is(entry, "cuLaunchGrid") ? CALLED(entry->name, FUNCTION, 2, 3)
                                     : CALLED(entry->name, FUNCTION);
}

static const struct seen *last_named(const char *name)
{
    for (unsigned back = 0; back < 8; back++)
        if (strcmp(newest(back)->name, name) == 0)
            return newest(back);
    CHECK(!"the driver was called");
    return NULL;
}

static void launches(const struct entry *entry)
{
    CUstream stream = is(entry, "cuLaunch") || is(entry, "cuLaunchGrid") ? NULL : fresh_stream();
    uint64_t physical = where(stream, per_thread(entry)), before = slot()->launches;
    uint64_t graphs = slot()->graph_launches;
    CHECK(launch_on(entry, stream) == CUDA_SUCCESS);
    const struct seen *seen = last_named(entry->name);
    CHECK(slot()->launches == before + 1);
    CHECK(slot()->graph_launches == graphs + is(entry, "cuGraphLaunch"));
    if (is(entry, "cuLaunchKernelEx"))
        return; /* its stream is inside the configuration, see launches_ex */
    static const uint64_t given[] = {(uint64_t)FUNCTION, 2, 3, 4, 5, 6, 7, 8, 0, 9, 10};
    for (int i = 0; stream && i < seen->count; i++)
        CHECK(i < 8 && seen->word[i] == given[i] ? true : seen->word[i] == physical ||
              seen->word[i] == given[i]);
}

/* The configuration is copied: the driver sees another stream, the program's stays. */
static void launches_ex(const struct entry *entry)
{
    CUstream stream = fresh_stream();
    CUlaunchConfig config = {2, 3, 4, 5, 6, 7, 8, stream, NULL, 0};
    where(stream, per_thread(entry));
    CALL(entry->name, &config, FUNCTION, NULL, NULL);
    const struct seen *seen = last_named(entry->name);
    CHECK(seen->word[0] != (uint64_t)&config && config.hStream == stream);
    CHECK(seen->word[1] == (uint64_t)FUNCTION);
}

/* A cluster that does not fit goes to the largest partition; ordered, and counted once. */
static void launches_a_large_cluster(const struct entry *entry)
{
    CUstream stream = fresh_stream();
    CUlaunchConfig config = {2, 3, 4, 5, 6, 7, 8, stream, NULL, 0};
    uint64_t physical = where(stream, per_thread(entry)), before = slot()->launches;
    unsigned calls = record->total;
    CALL(entry->name, &config, CLUSTER_FUNCTION, NULL, NULL);
    calls = record->total - calls;
    CHECK(slot()->launches == before + 1);
    /* begin, try, fence (2), launch, fence back (2), end */
    CHECK(calls == 8);
    CHECK_TEXT(newest(3)->name, entry->name);
    CHECK_TEXT(newest(6)->name, entry->name);
    CHECK(newest(5)->word[1] == physical && newest(4)->word[0] == (uint64_t)stream);
    CHECK(newest(2)->word[1] == (uint64_t)stream && newest(1)->word[0] == physical);
}

static void several_devices(const struct entry *entry)
{
    uint64_t before = slot()->ungated_launches;
    CALL(entry->name, NULL, 2, 0);
    CHECK(slot()->ungated_launches == before + 2);
}

/* --- captures and graphs -------------------------------------------------------------------- */

static uint64_t begin(const char *name, CUstream stream)
{
    if (strncmp(name, "cuStreamBeginCaptureToGraph", 27) == 0)
        CALL(name, stream, 0, 0, 0, 0, 0);
    else
        CALL(name, stream, 0);
    return newest(0)->word[0];
}

static uint64_t capture(const char *begins, const char *ends)
{
    CUstream stream = fresh_stream();
    uint64_t graph = 0, physical = where(stream, strstr(begins, "_ptsz") != NULL);
    CHECK(begin(begins, stream) == physical);
    CALL(ends, stream, &graph);
    CHECK(newest(0)->word[0] == physical && graph);
    return graph;
}

static uint64_t instantiate(const char *name, uint64_t graph)
{
    uint64_t exec = 0;
    CALL(name, &exec, graph, 0, 0, 0);
    CHECK(exec);
    return exec;
}

/* SMs that launches of a graph are charged for. */
static uint64_t charged_sms(uint64_t exec)
{
    CUstream stream = fresh_stream();
    struct has_usage_slot before = *slot();
    CALL("cuGraphLaunch", exec, stream);
    for (int i = 0; i < 1000 && slot()->gpu_time_ns == before.gpu_time_ns; i++)
        usleep(1000);
    uint64_t time = slot()->gpu_time_ns - before.gpu_time_ns;
    CHECK(time > 0);
    usleep(100);
    return (slot()->area_sm_ns - before.area_sm_ns) / time;
}

static void graphs(const struct entry *entry)
{
    const char *begins = is(entry, "cuStreamBeginCapture") || is(entry, "cuStreamBeginCapture_v2") ||
                                 is(entry, "cuStreamBeginCaptureToGraph")
                             ? entry->name
                             : "cuStreamBeginCapture_v2";
    const char *ends = is(entry, "cuStreamEndCapture") ? entry->name : "cuStreamEndCapture";
    const char *makes =
        strncmp(entry->name, "cuGraphInstantiate", 18) == 0 ? entry->name : "cuGraphInstantiate_v2";
    uint64_t graph = capture(begins, ends);
    if (is(entry, "cuGraphDestroy"))
        CALL(entry->name, graph); /* the handle may be reused for a graph made by hand */
    uint64_t exec = instantiate(makes, graph);
    if (is(entry, "cuGraphExecDestroy"))
        CALL(entry->name, exec);
    bool forgotten = is(entry, "cuGraphDestroy") || is(entry, "cuGraphExecDestroy");
    CHECK(charged_sms(exec) == (forgotten ? SM_COUNT : HALF_SMS));
}

/* The executable graph that the driver was last asked to launch. */
static uint64_t launched(uint64_t exec)
{
    CALL("cuGraphLaunch", exec, fresh_stream());
    return last_named("cuGraphLaunch")->word[0];
}

/* A graph that the program put together for the whole GPU: made anew for the half in force. */
static uint64_t moved_graph(void)
{
    uint64_t exec = instantiate("cuGraphInstantiate_v2", WHOLE_GRAPH);
    CHECK(launched(exec) == exec);
    for (int i = 0; i < 2000 && launched(exec) == exec; i++)
        usleep(1000);
    CHECK(launched(exec) != exec);
    for (int type = 0; type < 3; type++) /* kernels, copies and fills alike */
        CHECK(record->placed[type] && record->placed[type] == record->placed[0]);
    return exec;
}

static void puts_the_own_graph_back(const struct entry *entry)
{
    uint64_t exec = moved_graph();
    CALL(entry->name, exec, 2, 3, 4);
    CHECK(newest(0)->word[0] == exec);
    CHECK(launched(exec) == exec);
    usleep(50000);
    CHECK(launched(exec) == exec);
}

static bool made_since(unsigned total)
{
    for (unsigned back = 0; back < record->total - total; back++)
        if (strcmp(newest(back)->name, "cuGraphInstantiateWithFlags") == 0)
            return true;
    return false;
}

/* Code is gone that the graph may be made of: nothing is, until the program launches it again. */
static void waits_for_the_next_launch(const struct entry *entry)
{
    CUstream stream = fresh_stream();
    uint64_t graph, exec = instantiate("cuGraphInstantiate_v2", WHOLE_GRAPH);
    begin("cuStreamBeginCapture_v2", stream); /* so that the helper makes nothing yet */
    CHECK(launched(exec) == exec);
    usleep(30000);
    CALL(entry->name, FUNCTION);
    unsigned total = record->total;
    CALL("cuStreamEndCapture", stream, &graph);
    usleep(50000);
    CHECK(!made_since(total));
    CHECK(launched(exec) == exec);
    usleep(50000);
    CHECK(made_since(total));
}

/* --- streams and contexts -------------------------------------------------------------------- */

static void destroys_our_streams_too(const struct entry *entry)
{
    CUstream stream = fresh_stream();
    uint64_t physical = where(stream, false);
    CHECK(is_green(physical));
    CALL(entry->name, stream);
    CHECK(newest(0)->word[0] == (uint64_t)stream && newest(1)->word[0] == physical);
    CHECK_TEXT(newest(1)->name, "cuStreamDestroy_v2");
}

static void waits_for_our_streams(const struct entry *entry)
{
    uint64_t physical = where(fresh_stream(), false);
    unsigned before = record->total;
    CALL(entry->name, 0);
    bool waited = false;
    for (unsigned back = 0; back < record->total - before; back++)
        waited |= strcmp(newest(back)->name, "cuStreamSynchronize") == 0 &&
                  newest(back)->word[0] == physical;
    CHECK(waited);
}

/* Must be the last case of a process: partitions are over. */
static void gives_partitions_up(const struct entry *entry)
{
    CUcontext context;
    CUstream stream = fresh_stream();
    if (strcmp(entry->name, "cuCtxCreate_v3") == 0)
        CALL(entry->name, &context, 0, 0, 0, 0);
    else
        CALL(entry->name, &context, 0, 0, 0);
    CHECK(where(stream, false) == (uint64_t)stream);
}

static void routes(const struct entry *entry)
{
    void *answer = NULL;
    Dl_info info;
    int status;
    CALL(entry->name, "cuLaunchKernel", &answer, 12000, 0, &status);
    CHECK(dladdr(answer, &info) && strstr(info.dli_fname, "libhas_quota.so"));
    /* A version that no hook was written for is the driver's. */
    CALL(entry->name, "cuStreamQuery", &answer, 12000, 0, &status);
    CHECK(dladdr(answer, &info));
    CHECK_TEXT(info.dli_sname, "cuStreamQuery_v9");
    CHECK(strstr(info.dli_fname, "libcuda.so.1"));
}

static void loses_everything(const struct entry *entry)
{
    uint64_t exec = moved_graph();
    loses_memory(entry);
    CHECK(launched(exec) == exec); /* what was made of it is gone with the context */
}

void by_hand(const struct entry *entry)
{
    if (strcmp(entry->kind, "MEMORY") == 0)
        memory_entry(entry);
    else if (strcmp(entry->kind, "ROUTE") == 0)
        routes(entry);
    else if (strcmp(entry->kind, "UNGATED") == 0)
        several_devices(entry);
    else if (strcmp(entry->kind, "CHANGE") == 0)
        puts_the_own_graph_back(entry);
    else if (strcmp(entry->kind, "UNLOAD") == 0)
        waits_for_the_next_launch(entry);
    else if (is(entry, "cuStreamDestroy_v2"))
        destroys_our_streams_too(entry);
    else if (strncmp(entry->name, "cuCtxSynchronize", 16) == 0)
        waits_for_our_streams(entry);
    else if (strncmp(entry->name, "cuCtxCreate", 11) == 0)
        gives_partitions_up(entry);
    else if (is(entry, "cuDevicePrimaryCtxRetain"))
        CHECK(is_green(where(fresh_stream(), false))); /* made after the context, by start() */
    else if (is(entry, "cuDevicePrimaryCtxReset_v2"))
        loses_everything(entry);
    else if (strcmp(entry->kind, "CAPTURE") == 0)
        graphs(entry);
    else
        launches(entry);
    if (is(entry, "cuLaunchKernelEx")) {
        launches_ex(entry);
        launches_a_large_cluster(entry);
    }
}
