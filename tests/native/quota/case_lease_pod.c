/* Leases of a pod with several processes, and of those that end. */
#include <sys/wait.h>

#include "lease_case.h"

/* Launches 40 ms of work when told to, says so, and ends in the middle when told to. */
static void other_process(int from, int to)
{
    char byte;
    CHECK(read(from, &byte, 1) == 1);
    primary_context();
    CUstream own = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction one_ms = kernel("wide_ms");
    for (int i = 0; i < 40; i++)
        OK(launch(one_ms, own));
    CHECK(write(to, &byte, 1) == 1);
    CHECK(read(from, &byte, 1) == 1);
    _exit(0);
}

static void processes_of_a_pod_share_its_lease(void)
{
    int to[2], from[2], status;
    char byte = 0;
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    pid_t child = fork(); /* before CUDA begins: it does not survive a fork */
    if (child == 0)
        other_process(to[0], from[1]);
    share(900, 0);
    CHECK(write(to[1], &byte, 1) == 1 && read(from[0], &byte, 1) == 1);
    OK(launch(half, stream));
    OK(cuStreamSynchronize(stream));
    CHECK(write(to[1], &byte, 1) == 1);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(becomes(&leases->running, MINE, false, 1000));
    OK(launch(half, stream));
    CHECK(load(&leases->running) & MINE);
}

static void one_that_lets_go_leaves_the_bit_to_the_others_of_its_pod(void)
{
    share(900, 0);
    struct has_usage_slot *other = (struct has_usage_slot *)(usage + 1) + 7;
    other->pid = (uint32_t)getppid();
    other->heartbeat_ns = now_ns();
    other->lease_at_ns = now_ns() + WINDOW; /* fresh for three windows from now */
    __atomic_store_n(&other->state, HAS_SLOT_LIVE, __ATOMIC_SEQ_CST);
    OK(launch(half, stream));
    OK(cuStreamSynchronize(stream));
    for (int i = 0; i < 1000 && slot()->lease_at_ns; i++)
        pause_us(100);
    CHECK(slot()->lease_at_ns == 0 && load(&leases->running) & MINE);
    /* One that is silent counts no more. */
    pause_us(160000);
    OK(launch(half, stream));
    OK(cuStreamSynchronize(stream));
    CHECK(becomes(&leases->running, MINE, false, 1000));
}

static void a_child_of_a_fork_holds_nothing(void)
{
    int status;
    share(900, 0);
    CUfunction one_ms = kernel("wide_ms");
    for (int i = 0; i < 40; i++)
        OK(launch(one_ms, stream));
    pid_t child = fork();
    if (child == 0)
        exit(0); /* through the library's own end */
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(load(&leases->running) & MINE);
}

/* Nobody has to find out that they are gone. */
static void processes_that_exit_in_mid_turn_let_go(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        share(900, 0);
        CUfunction one_ms = kernel("wide_ms");
        for (int i = 0; i < 40; i++)
            OK(launch(one_ms, stream));
        CHECK(load(&leases->running) & MINE);
        exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    limits = map("limits", HAS_LIMITS_SIZE);
    open_leases();
    CHECK(!(load(&leases->running) & MINE));
}

/* One kernel of 0.3 s: the turn goes on until it ends. */
static void begin_a_long_turn(void)
{
    static const char long_one[] = "HASEMU 1\nkernel k work_sm_ns=132 floor_ns=300000000 max_sm=1\n";
    CUmodule module;
    CUfunction long_kernel;
    OK(cuModuleLoadData(&module, long_one));
    OK(cuModuleGetFunction(&long_kernel, module, "k"));
    share(900, 0);
    OK(launch(long_kernel, stream));
    CHECK(load(&leases->running) & MINE);
}

/* The helper is slow here, and no launch follows. */
static void another_slot_ends_the_turn_in_the_old_one(void)
{
    CUevent event;
    start();
    event = new_event();
    begin_a_long_turn();
    limits->lease_slot = 5;
    write_limits(ALL, 900, 1ull << 40);
    OK(cuEventRecord(event, stream)); /* any call reads the limits */
    CHECK(!(load(&leases->running) & MINE));
    CHECK(cuEventQuery(event) == CUDA_ERROR_NOT_READY);
}

static void who_needs_no_turns_any_more_lets_go(void)
{
    start();
    begin_a_long_turn();
    CUevent end = record(stream);
    limits->lease_slot = 0;
    limits->lease_conflicts = 0;
    write_limits(ALL, 900, 1ull << 40);
    CHECK(becomes(&leases->running, MINE, false, 200));
    CHECK(cuEventQuery(end) == CUDA_ERROR_NOT_READY);
}

MAIN(CASE(processes_of_a_pod_share_its_lease),
     CASE(one_that_lets_go_leaves_the_bit_to_the_others_of_its_pod),
     CASE(a_child_of_a_fork_holds_nothing),
     CASE(processes_that_exit_in_mid_turn_let_go), CASE(another_slot_ends_the_turn_in_the_old_one),
     CASE(who_needs_no_turns_any_more_lets_go))
