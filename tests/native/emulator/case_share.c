/* Processor sharing, as arithmetic. */
#include "../../../quota_runtime/emulator/share.h"
#include "check.h"

static struct share_job job(unsigned first, unsigned count, double cap)
{
    return (struct share_job){.sms = sm_set_range(first, count), .cap = cap};
}

static void alone_a_job_gets_what_it_can_use(void)
{
    struct share_job jobs[] = {job(0, 132, 200)};
    share_sms(jobs, 1);
    CHECK_NEAR(jobs[0].given, 132, 1e-9);
    jobs[0].cap = 17.5;
    share_sms(jobs, 1);
    CHECK_NEAR(jobs[0].given, 17.5, 1e-9);
}

static void equal_sets_are_shared_equally(void)
{
    struct share_job jobs[] = {job(0, 132, 132), job(0, 132, 132), job(0, 132, 132)};
    share_sms(jobs, 3);
    for (int i = 0; i < 3; i++)
        CHECK_NEAR(jobs[i].given, 44, 1e-9);
}

static void what_a_small_job_leaves_goes_to_the_others(void)
{
    struct share_job jobs[] = {job(0, 132, 132), job(0, 132, 12), job(0, 132, 132)};
    share_sms(jobs, 3);
    CHECK_NEAR(jobs[1].given, 12, 1e-9);
    CHECK_NEAR(jobs[0].given, 60, 1e-9);
    CHECK_NEAR(jobs[2].given, 60, 1e-9);
}

static void disjoint_sets_do_not_influence_each_other(void)
{
    struct share_job jobs[] = {job(0, 64, 132), job(64, 68, 132), job(64, 68, 132)};
    share_sms(jobs, 3);
    CHECK_NEAR(jobs[0].given, 64, 1e-9);
    CHECK_NEAR(jobs[1].given, 34, 1e-9);
    CHECK_NEAR(jobs[2].given, 34, 1e-9);
}

static void overlapping_sets_share_only_what_is_common(void)
{
    struct share_job jobs[] = {job(0, 64, 64), job(32, 64, 64)};
    share_sms(jobs, 2);
    CHECK_NEAR(jobs[0].given, 48, 1e-3);
    CHECK_NEAR(jobs[1].given, 48, 1e-3);
}

static void a_capped_job_leaves_the_common_part_to_its_neighbour(void)
{
    struct share_job jobs[] = {job(0, 64, 8), job(0, 132, 132)};
    share_sms(jobs, 2);
    CHECK_NEAR(jobs[0].given, 8, 1e-3);
    CHECK_NEAR(jobs[1].given, 124, 1e-3);
}

static void nothing_beyond_the_gpu_is_ever_given(void)
{
    unsigned seed = 1;
    for (int round = 0; round < 2000; round++) {
        struct share_job jobs[8];
        int count = 1 + (int)(rand_r(&seed) % 8);
        struct sm_set all = {{0}};
        for (int i = 0; i < count; i++) {
            unsigned first = (unsigned)rand_r(&seed) % 16 * 8;
            jobs[i] = job(first, 4 + (unsigned)rand_r(&seed) % (128 - first),
                          0.5 + rand_r(&seed) % 140);
            all = sm_set_union(&all, &jobs[i].sms);
        }
        share_sms(jobs, count);
        double given = 0;
        for (int i = 0; i < count; i++) {
            CHECK(jobs[i].given > 0);
            CHECK(jobs[i].given <= jobs[i].cap + 1e-6);
            CHECK(jobs[i].given <= sm_set_size(&jobs[i].sms) + 1e-6);
            given += jobs[i].given;
        }
        CHECK(given <= sm_set_size(&all) + 1e-6);
    }
}

MAIN(CASE(alone_a_job_gets_what_it_can_use), CASE(equal_sets_are_shared_equally),
     CASE(what_a_small_job_leaves_goes_to_the_others),
     CASE(disjoint_sets_do_not_influence_each_other),
     CASE(overlapping_sets_share_only_what_is_common),
     CASE(a_capped_job_leaves_the_common_part_to_its_neighbour),
     CASE(nothing_beyond_the_gpu_is_ever_given))
