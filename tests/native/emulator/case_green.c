/* Green contexts and graphs, on the virtual clock. */
#include "driver_case.h"

#define GROUPS 15

struct cut {
    CUdevResource groups[GROUPS];
    CUdevResource rest;
};

static struct cut cut_device(void)
{
    struct cut cut;
    CUdevResource all;
    unsigned count = GROUPS + 5;
    OK(cuDeviceGetDevResource(0, &all, CU_DEV_RESOURCE_TYPE_SM));
    OK(cuDevSmResourceSplitByCount(NULL, &count, &all, NULL, 0, 8));
    CHECK(count == GROUPS);
    OK(cuDevSmResourceSplitByCount(cut.groups, &count, &all, &cut.rest, 0, 8));
    CHECK(count == GROUPS);
    return cut;
}

static CUgreenCtx green_of(CUdevResource *resources, unsigned count)
{
    CUdevResourceDesc description;
    CUgreenCtx green;
    OK(cuDevResourceGenerateDesc(&description, resources, count));
    OK(cuGreenCtxCreate(&green, description, 0, CU_GREEN_CTX_DEFAULT_STREAM));
    return green;
}

static CUstream green_stream(CUgreenCtx green)
{
    CUstream stream;
    OK(cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING, 0));
    return stream;
}

static void an_h200_splits_into_fifteen_eights_and_twelve(void)
{
    primary_context();
    struct cut cut = cut_device();
    for (int i = 0; i < GROUPS; i++)
        CHECK(cut.groups[i].sm.smCount == 8);
    CHECK(cut.rest.sm.smCount == 12);
}

static void giving_up_coscheduling_splits_into_sixty_six_pairs(void)
{
    primary_context();
    CUdevResource all, groups[70], rest;
    unsigned count = 70;
    OK(cuDeviceGetDevResource(0, &all, CU_DEV_RESOURCE_TYPE_SM));
    OK(cuDevSmResourceSplitByCount(groups, &count, &all, &rest, 1, 2));
    CHECK(count == 66 && rest.type == CU_DEV_RESOURCE_TYPE_INVALID);
}

static void a_kernel_gets_the_sms_of_its_stream_only(void)
{
    primary_context();
    struct cut cut = cut_device();
    CUfunction wide = kernel("wide_ms");
    CUstream stream = green_stream(green_of(cut.groups, 2));
    CUevent start = record(stream);
    OK(launch(wide, stream));
    CHECK_NEAR(between_ns(start, record(stream)), MS * H200_SMS / 16, 100);
}

static void disjoint_partitions_run_at_full_speed_together(void)
{
    primary_context();
    struct cut cut = cut_device();
    CUfunction wide = kernel("wide_ms");
    CUstream a = green_stream(green_of(cut.groups, 7));
    CUstream b = green_stream(green_of(cut.groups + 7, 8));
    CUevent start_a = record(a), start_b = record(b);
    OK(launch(wide, a));
    OK(launch(wide, b));
    /* Both before the first wait, which moves the clock. */
    CUevent end_a = record(a), end_b = record(b);
    CHECK_NEAR(between_ns(start_a, end_a), MS * H200_SMS / 56, 100);
    CHECK_NEAR(between_ns(start_b, end_b), MS * H200_SMS / 64, 100);
}

static void groups_of_two_splits_are_the_same_sms(void)
{
    primary_context();
    struct cut first = cut_device(), second = cut_device();
    CUfunction wide = kernel("wide_ms");
    CUstream a = green_stream(green_of(first.groups, 4));
    CUstream b = green_stream(green_of(second.groups, 4));
    CUevent start = record(a);
    OK(launch(wide, a));
    OK(launch(wide, b));
    CHECK_NEAR(between_ns(start, record(a)), 2 * MS * H200_SMS / 32, 200);
}

static void overlapping_resources_make_no_partition(void)
{
    primary_context();
    struct cut cut = cut_device();
    CUdevResource twice[2] = {cut.groups[0], cut.groups[0]};
    CUdevResourceDesc description;
    CHECK(cuDevResourceGenerateDesc(&description, twice, 2) ==
          CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION);
}

static void streams_of_a_destroyed_partition_are_dead(void)
{
    primary_context();
    struct cut cut = cut_device();
    CUgreenCtx green = green_of(cut.groups, 1), found;
    CUstream stream = green_stream(green);
    OK(cuStreamGetGreenCtx(stream, &found));
    CHECK(found == green);
    OK(cuGreenCtxDestroy(green));
    CHECK(launch(kernel("wide_ms"), stream) == CUDA_ERROR_CONTEXT_IS_DESTROYED);
    CHECK(cuStreamDestroy_v2(stream) == CUDA_ERROR_CONTEXT_IS_DESTROYED);
}

static void a_current_partition_has_no_per_thread_stream(void)
{
    primary_context();
    struct cut cut = cut_device();
    CUcontext context;
    CUstream stream;
    OK(cuCtxFromGreenCtx(&context, green_of(cut.groups, 1)));
    OK(cuCtxPushCurrent_v2(context));
    CHECK(launch(kernel("wide_ms"), CU_STREAM_PER_THREAD) == CUDA_ERROR_INVALID_HANDLE);
    CHECK(cuStreamCreate(&stream, CU_STREAM_DEFAULT) == CUDA_ERROR_INVALID_VALUE);
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
}

static CUgraph capture_wide(CUstream stream, CUfunction wide, int launches)
{
    CUgraph graph;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    for (int i = 0; i < launches; i++)
        OK(launch(wide, stream));
    OK(cuStreamEndCapture(stream, &graph));
    return graph;
}

static void a_captured_graph_keeps_the_sms_of_its_capture(void)
{
    primary_context();
    struct cut cut = cut_device();
    CUfunction wide = kernel("wide_ms");
    CUstream small = green_stream(green_of(cut.groups, 2));
    CUstream plain = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec on_small, on_all;
    OK(cuGraphInstantiateWithFlags(&on_small, capture_wide(small, wide, 1), 0));
    OK(cuGraphInstantiateWithFlags(&on_all, capture_wide(plain, wide, 1), 0));
    CUevent start = record(plain);
    OK(cuGraphLaunch(on_small, plain));
    CHECK_NEAR(between_ns(start, record(plain)), MS * H200_SMS / 16, 100);
    start = record(small);
    OK(cuGraphLaunch(on_all, small));
    CHECK_NEAR(between_ns(start, record(small)), MS, 100);
}

static void a_capture_runs_nothing_and_a_launch_runs_all(void)
{
    primary_context();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent start = record(stream);
    CUgraph graph = capture_wide(stream, kernel("wide_ms"), 3);
    CHECK_NEAR(between_ns(start, record(stream)), 0, 10);
    size_t count = 0;
    CUgraphExec exec;
    OK(cuGraphGetNodes(graph, NULL, &count));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    OK(cuGraphDestroy(graph));
    OK(cuGraphLaunch(exec, stream));
    CHECK(count == 3);
    CHECK_NEAR(between_ns(start, record(stream)), 3 * MS, 100);
    OK(cuGraphExecDestroy(exec));
}

static void a_stream_that_waits_for_a_captured_event_is_captured(void)
{
    primary_context();
    CUfunction wide = kernel("wide_ms");
    CUstream a = new_stream(CU_STREAM_NON_BLOCKING), b = new_stream(CU_STREAM_NON_BLOCKING);
    CUevent fork_event = new_event(), join_event = new_event();
    CUgraph graph;
    size_t count = 0;
    OK(cuStreamBeginCapture_v2(a, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(launch(wide, a));
    OK(cuEventRecord(fork_event, a));
    OK(cuStreamWaitEvent(b, fork_event, 0));
    OK(launch(wide, b));
    OK(cuEventRecord(join_event, b));
    OK(cuStreamWaitEvent(a, join_event, 0));
    CHECK(cuStreamEndCapture(b, &graph) == CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
    OK(cuStreamEndCapture(a, &graph));
    OK(cuGraphGetNodes(graph, NULL, &count));
    CHECK(count >= 2);
    CHECK(cuEventQuery(join_event) == CUDA_ERROR_CAPTURED_EVENT);
    OK(cuStreamSynchronize(b));
}

static void waiting_in_a_capture_spoils_it(void)
{
    primary_context();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraph graph;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    CHECK(cuStreamSynchronize(stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    CHECK(cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    OK(cuStreamSynchronize(stream));
}

static void an_update_changes_kernels_but_not_their_context(void)
{
    primary_context();
    struct cut cut = cut_device();
    CUfunction wide = kernel("wide_ms"), narrow = kernel("narrow_ms");
    CUstream plain = new_stream(CU_STREAM_NON_BLOCKING);
    CUstream small = green_stream(green_of(cut.groups, 2));
    char info[64];
    CUgraphExec exec;
    OK(cuGraphInstantiateWithFlags(&exec, capture_wide(plain, wide, 1), 0));
    CHECK(cuGraphExecUpdate_v2(exec, capture_wide(small, wide, 1), (void *)info) != CUDA_SUCCESS);
    CHECK(cuGraphExecUpdate_v2(exec, capture_wide(plain, wide, 2), (void *)info) != CUDA_SUCCESS);
    OK(cuGraphExecUpdate_v2(exec, capture_wide(plain, narrow, 1), (void *)info));
    OK(cuGraphLaunch(exec, plain));
    OK(cuStreamSynchronize(plain));
}

static void a_node_made_for_a_context_runs_there(void)
{
    CUcontext context, primary = primary_context();
    struct cut cut = cut_device();
    CUgraph graph, clone;
    CUgraphNode node, twin;
    CUgraphExec exec;
    CUstream plain = new_stream(CU_STREAM_NON_BLOCKING);
    OK(cuCtxFromGreenCtx(&context, green_of(cut.groups, 2)));
    CUDA_KERNEL_NODE_PARAMS params = {
        .gridDimX = 1, .gridDimY = 1, .gridDimZ = 1, .blockDimX = 32, .blockDimY = 1,
        .blockDimZ = 1, .kern = (CUkernel)kernel("wide_ms"), .ctx = context};
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddKernelNode_v2(&node, graph, NULL, 0, &params));
    OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    CUevent start = record(plain);
    OK(cuGraphLaunch(exec, plain));
    CHECK_NEAR(between_ns(start, record(plain)), MS * H200_SMS / 16, 100);
    params.ctx = primary;
    CHECK(cuGraphExecKernelNodeSetParams_v2(exec, node, &params) == CUDA_ERROR_INVALID_VALUE);
    OK(cuGraphClone(&clone, graph));
    OK(cuGraphNodeFindInClone(&twin, node, clone));
    OK(cuGraphKernelNodeSetParams_v2(twin, &params));
    OK(cuGraphInstantiateWithFlags(&exec, clone, 0));
    start = record(plain);
    OK(cuGraphLaunch(exec, plain));
    CHECK_NEAR(between_ns(start, record(plain)), MS, 100);
}

/* A module's function passes for a kernel; which of the two a node names, its parameters say. */
static void a_captured_node_can_be_placed_in_a_clone(void)
{
    CUcontext primary = primary_context(), context;
    struct cut cut = cut_device();
    CUstream plain = new_stream(CU_STREAM_NON_BLOCKING);
    CUfunction function = kernel("wide_ms");
    CUlibrary library;
    CUkernel wide;
    OK(cuCtxFromGreenCtx(&context, green_of(cut.groups, 2)));
    OK(cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0));
    OK(cuLibraryGetKernel(&wide, library, "wide_ms"));
    for (int of_library = 0; of_library < 2; of_library++) {
        CUgraph graph = capture_wide(plain, of_library ? (CUfunction)wide : function, 1), clone;
        CUgraphNode node;
        CUgraphExec exec;
        CUDA_KERNEL_NODE_PARAMS params;
        size_t count = 1;
        OK(cuGraphClone(&clone, graph));
        OK(cuGraphGetNodes(clone, &node, &count));
        OK(cuGraphKernelNodeGetParams_v2(node, &params));
        CHECK(params.func && (params.kern != NULL) == of_library && params.ctx == primary);
        OK(cuCtxPushCurrent_v2(context));
        OK(cuGraphInstantiateWithFlags(&exec, clone, 0)); /* does not place it */
        OK(cuCtxPopCurrent_v2(NULL));
        CUevent start = record(plain);
        OK(cuGraphLaunch(exec, plain));
        CHECK_NEAR(between_ns(start, record(plain)), MS, 100);
        params.kern = (CUkernel)params.func;
        params.func = NULL;
        params.ctx = context;
        OK(cuGraphKernelNodeSetParams_v2(node, &params));
        OK(cuGraphInstantiateWithFlags(&exec, clone, 0));
        start = record(plain);
        OK(cuGraphLaunch(exec, plain));
        CHECK_NEAR(between_ns(start, record(plain)), MS * H200_SMS / 16, 100);
    }
}

static void a_graph_that_allocates_has_no_clone(void)
{
    primary_context();
    CUstream stream = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraph graph, clone;
    CUdeviceptr memory;
    OK(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemAllocAsync(&memory, 4096, stream));
    OK(cuMemFreeAsync(memory, stream));
    OK(cuStreamEndCapture(stream, &graph));
    CHECK(cuGraphClone(&clone, graph) == CUDA_ERROR_NOT_SUPPORTED);
}

static void launches_of_one_graph_do_not_overlap(void)
{
    primary_context();
    CUstream a = new_stream(CU_STREAM_NON_BLOCKING), b = new_stream(CU_STREAM_NON_BLOCKING);
    CUgraphExec exec;
    OK(cuGraphInstantiateWithFlags(&exec, capture_wide(a, kernel("narrow_ms"), 1), 0));
    CUevent start = record(a);
    OK(cuGraphLaunch(exec, a));
    OK(cuGraphLaunch(exec, b));
    CHECK_NEAR(between_ns(start, record(b)), 2 * MS, 100);
}

MAIN(CASE(an_h200_splits_into_fifteen_eights_and_twelve),
     CASE(giving_up_coscheduling_splits_into_sixty_six_pairs),
     CASE(a_kernel_gets_the_sms_of_its_stream_only),
     CASE(disjoint_partitions_run_at_full_speed_together),
     CASE(groups_of_two_splits_are_the_same_sms), CASE(overlapping_resources_make_no_partition),
     CASE(streams_of_a_destroyed_partition_are_dead),
     CASE(a_current_partition_has_no_per_thread_stream),
     CASE(a_captured_graph_keeps_the_sms_of_its_capture),
     CASE(a_capture_runs_nothing_and_a_launch_runs_all),
     CASE(a_stream_that_waits_for_a_captured_event_is_captured),
     CASE(waiting_in_a_capture_spoils_it), CASE(an_update_changes_kernels_but_not_their_context),
     CASE(a_node_made_for_a_context_runs_there),
     CASE(a_captured_node_can_be_placed_in_a_clone), CASE(a_graph_that_allocates_has_no_clone),
     CASE(launches_of_one_graph_do_not_overlap))
