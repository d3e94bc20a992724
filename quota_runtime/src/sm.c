#include "sm.h"

#include "budget.h"
#include "real.h"

static atomic_uint sm_count;

static uint32_t count_sms(void)
{
    uint32_t known = atomic_load_explicit(&sm_count, memory_order_relaxed);
    CUdevice device;
    int count = 0;
    if (known || !has_real_found() || !has_use.cuDeviceGet || !has_use.cuDeviceGetAttribute)
        return known;
    if (has_use.cuDeviceGet(&device, 0) != CUDA_SUCCESS ||
        has_use.cuDeviceGetAttribute(&count, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device) !=
            CUDA_SUCCESS ||
        count <= 0)
        return 0;
    atomic_store_explicit(&sm_count, (uint32_t)count, memory_order_relaxed);
    return (uint32_t)count;
}

uint32_t has_sm_in_force(void)
{
    return atomic_load_explicit(&sm_count, memory_order_relaxed);
}

void has_sm_apply(const struct has_view *view)
{
    uint32_t total = count_sms();
    struct has_groups all = has_groups_first(has_group_count(total, view->group_size));
    uint32_t quota = view->flags & HAS_FLAG_TIME ? view->quota_permille : 1000;
    uint32_t meant = view->flags & HAS_FLAG_SM
                         ? has_groups_sms(view->groups, total, view->group_size)
                         : total;
    atomic_store(&has_share_ppm, has_compensated_ppm(quota, meant, total));
    HAS_SET(sm_groups[0], all.word[0]);
    HAS_SET(sm_groups[1], all.word[1]);
    HAS_SET(quota_permille, view->quota_permille);
    HAS_SET(in_force_at_ns, (int64_t)has_now_ns());
    __atomic_store_n(&has_slot()->epoch_in_force, view->epoch, __ATOMIC_RELEASE);
}

CUstream has_sm_place(struct has_lane *lane, CUstream stream, const struct has_view *view)
{
    (void)view;
    return has_sm_stay(lane, stream);
}

void has_sm_before_default(struct has_lane *lane)
{
    (void)lane;
}

void has_sm_after_default(struct has_lane *lane)
{
    (void)lane;
}

bool has_sm_widest(struct has_lane *lane, CUstream stream, CUstream *wide)
{
    (void)lane;
    (void)stream;
    (void)wide;
    return false;
}

void has_sm_back(struct has_lane *lane, CUstream wide)
{
    (void)lane;
    (void)wide;
}

void has_sm_forget(CUstream stream)
{
    has_lane_forget(stream);
}

CUresult has_sm_wait_all(void)
{
    return CUDA_SUCCESS;
}
