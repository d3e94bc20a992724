/* One pod among several on an emulated GPU; reads commands, answers each with one line:
 *
 *   eager MS | graph MS   keep the GPU busy with kernels of 0.5 ms for so long, then say how many
 *                         nanoseconds of SM time this process has had, by the GPU's own books
 *   shared 0              say for how many nanoseconds its kernels ran on SMs beside others' kernels
 *   once 0                say how many nanoseconds one launch took to return and one kernel to end
 */
#include "../../../quota_runtime/emulator/gpu_list.h"
#include "pod_case.h"

static const char half_ms[] = "HASEMU 1\nkernel k work_sm_ns=66000000 floor_ns=2000 max_sm=132\n";
static CUfunction function;
static CUgraphExec graph;
static CUstream stream;
static struct emu_gpu *gpu;

static void capture(void)
{
    CUgraph made;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    for (int i = 0; i < 2; i++)
        OK(launch(function, stream));
    OK(cuStreamEndCapture(stream, &made));
    OK(cuGraphInstantiateWithFlags(&graph, made, 0));
}

/* At most two steps in flight, as a server has that waits for its outputs. */
static void keep_busy(bool with_graph, int ms)
{
    CUevent done[2] = {new_event(), new_event()};
    int64_t end = now_ns() + ms * 1000000ll;
    for (unsigned i = 0; now_ns() < end; i++) {
        if (i > 1)
            OK(cuEventSynchronize(done[i % 2]));
        OK(with_graph ? cuGraphLaunch(graph, stream) : launch(function, stream));
        OK(cuEventRecord(done[i % 2], stream));
    }
    OK(cuStreamSynchronize(stream));
}

static const struct emu_process *books(void)
{
    for (int i = 0; i < EMU_PROCESSES; i++)
        if (gpu->processes[i].pid == (uint32_t)getpid())
            return &gpu->processes[i];
    CHECK(!"a process of the GPU");
    return NULL;
}

static void launch_once(void)
{
    int64_t begin = now_ns();
    OK(launch(function, stream));
    int64_t passed = now_ns();
    OK(cuStreamSynchronize(stream));
    printf("%lld %lld\n", (long long)(passed - begin), (long long)(now_ns() - begin));
}

int main(void)
{
    char command[16];
    int ms;
    CUmodule module;
    struct emu_gpu *gpus[8];
    start();
    CHECK(gpu_list_open(gpus, 8) == 1);
    gpu = gpus[0];
    OK(cuModuleLoadData(&module, half_ms));
    OK(cuModuleGetFunction(&function, module, "k"));
    stream = new_stream(CU_STREAM_NON_BLOCKING);
    capture();
    puts("ready");
    fflush(stdout);
    while (scanf("%15s %d", command, &ms) == 2) {
        double before = books()->sm_ns;
        if (strcmp(command, "shared") == 0) {
            printf("%.0f\n", books()->shared_ns);
        } else if (strcmp(command, "once") == 0) {
            launch_once();
        } else {
            keep_busy(strcmp(command, "graph") == 0, ms);
            printf("%.0f\n", books()->sm_ns - before);
        }
        fflush(stdout);
    }
    return 0;
}
