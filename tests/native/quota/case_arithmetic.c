/* The arithmetic of budgets and bitmaps, on no clock and no GPU. */
#include "../../../quota_runtime/src/bitmap.h"
#include "../../../quota_runtime/src/budget.h"
#include "../../../quota_runtime/src/estimate.h"
#include "../../../quota_runtime/src/graph_rules.h"
#include "../../../quota_runtime/src/ledger.h"
#include "../emulator/check.h"

#include <malloc.h>

#define MS 1000000ll
#define WINDOW (50 * MS)

static void a_window_grants_its_share(void)
{
    CHECK(has_budget_of(WINDOW, HAS_PPM) == WINDOW);
    CHECK(has_budget_of(WINDOW, 100000) == 5 * MS);
    CHECK(has_budget_of(WINDOW, 1000) == 50000);
}

static void windows_begin_at_the_phase(void)
{
    CHECK(has_window_at(10 * WINDOW, WINDOW, 0) == has_window_at(11 * WINDOW - 1, WINDOW, 0));
    CHECK(has_window_at(11 * WINDOW, WINDOW, 0) == has_window_at(10 * WINDOW, WINDOW, 0) + 1);
    uint64_t phase = 20 * MS, begin = 10 * WINDOW + phase;
    CHECK(has_window_at(begin, WINDOW, phase) == has_window_at(begin - 1, WINDOW, phase) + 1);
    CHECK(has_window_end(begin, WINDOW, phase) == begin + WINDOW);
    CHECK(has_window_end(begin + WINDOW - 1, WINDOW, phase) == begin + WINDOW);
    /* A phase beyond the window means the same place in it. */
    CHECK(has_window_at(begin, WINDOW, phase + 3 * WINDOW) == has_window_at(begin, WINDOW, phase));
}

static void debt_is_carried_and_unspent_time_hardly(void)
{
    CHECK(has_budget_credit(-3 * MS, 1, 5 * MS, 2 * MS) == 2 * MS);
    CHECK(has_budget_credit(4 * MS, 1, 5 * MS, 2 * MS) == 7 * MS);
    CHECK(has_budget_credit(0, 1000, 5 * MS, 2 * MS) == 7 * MS);
    CHECK(has_budget_credit(-50 * MS, 3, 5 * MS, 2 * MS) == -35 * MS);
    CHECK(has_budget_credit(-MS, ~0ull, WINDOW, 0) == WINDOW); /* no overflow */
}

static void debt_ends_at_its_limit_and_a_refund_is_whole(void)
{
    CHECK(has_budget_charge(5 * MS, 3 * MS, WINDOW) == 2 * MS);
    CHECK(has_budget_charge(0, 1000 * MS, WINDOW) == -WINDOW);
    CHECK(has_budget_charge(-60 * MS, MS, WINDOW) == -60 * MS);
    CHECK(has_budget_charge(-60 * MS, -2 * MS, WINDOW) == -58 * MS);
}

static void more_sms_cost_more_time_and_fewer_cost_no_less(void)
{
    CHECK(has_area_price(64 * MS, 132, 66) == 128 * MS);
    CHECK(has_area_price(64 * MS, 32, 66) == 64 * MS);
    CHECK(has_area_price(64 * MS, 132, 0) == 64 * MS);
}

static void a_wait_is_bounded(void)
{
    CHECK(has_longest_wait(WINDOW) == 5000ull * MS);
    CHECK(has_longest_wait(MS) == 1000ull * MS);
    CHECK(has_longest_wait(10000ull * MS) == 20000ull * MS);
}

/* Kernels of random lengths that start while the balance is positive: over any number of windows a
 * pod gets its share but for what is kept and one kernel, never more. */
static void random_kernels_get_their_share(void)
{
    uint64_t seed = 7;
    for (uint32_t ppm = 50000; ppm < HAS_PPM; ppm += 90000) {
        int64_t balance = 0, now = 0, used = 0, longest = 3 * MS, keep = 2 * MS;
        uint64_t window = 0;
        while (now < 400 * WINDOW) {
            uint64_t here = has_window_at((uint64_t)now, WINDOW, 0);
            if (here != window)
                balance = has_budget_credit(balance, window ? here - window : 1,
                                            has_budget_of(WINDOW, ppm), keep);
            window = here;
            if (balance <= 0) {
                now = (int64_t)has_window_end((uint64_t)now, WINDOW, 0);
                continue;
            }
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            int64_t kernel = 1000 + (int64_t)(seed >> 33) % longest;
            balance = has_budget_charge(balance, kernel, WINDOW);
            used += kernel;
            now += kernel;
        }
        double share = (double)used / (double)now, granted = ppm / 1e6;
        CHECK_NEAR(share, granted, 0.002 + (double)(longest + keep) / (400.0 * WINDOW));
    }
}

static void bitmaps_say_which_sms(void)
{
    struct has_groups all = has_groups_first(16), last = {{1ull << 15, 0}}, far = {{0, 1}};
    CHECK(has_groups_count(all) == 16 && has_groups_test(all, 15) && !has_groups_test(all, 16));
    CHECK(has_groups_sms(all, 132, 8) == 132);
    CHECK(has_groups_sms(last, 132, 8) == 12); /* the last group takes the rest */
    CHECK(has_groups_sms((struct has_groups){{0xff, 0}}, 132, 8) == 64);
    CHECK(has_groups_sms(far, 132, 8) == 0 && has_groups_sms(far, 132, 2) == 2);
    CHECK(has_groups_within(last, all) && !has_groups_within(all, last));
    CHECK(!has_groups_within(far, all) && has_groups_any(far));
    CHECK(has_groups_equal(has_groups_and(all, last), last));
    CHECK(has_groups_count(has_groups_first(100)) == 100);
    CHECK(has_group_count(132, 8) == 16 && has_group_count(132, 2) == 66);
    CHECK(has_group_count(1000, 2) == HAS_GROUPS_MAX && has_group_count(132, 0) == 0);
}

static void estimates_find_the_lengths_of_launches(void)
{
    uint16_t fast = has_estimate_key((void *)0x1000, 1), slow = has_estimate_key((void *)0x2000, 1);
    CHECK(fast != slow && fast != has_estimate_key((void *)0x1000, 2));
    CHECK(has_estimate_of(fast) == HAS_ESTIMATE_FIRST_NS);
    uint16_t keys[8] = {fast, fast, fast, fast, fast, fast, fast, slow};
    for (int i = 0; i < 40; i++) {
        has_estimate_learn(keys, 7, 7 * 5000);
        has_estimate_learn(keys, 8, 7 * 5000 + 2000000);
    }
    CHECK_NEAR(has_estimate_of(fast), 5000, 500);
    CHECK_NEAR(has_estimate_of(slow), 2000000, 200000);
    for (int i = 0; i < 100; i++)
        has_estimate_learn(keys, 1, 0);
    CHECK(has_estimate_of(fast) >= 200); /* never nothing, so that it can grow again */
}

static void the_ledger_keeps_what_is_live_and_no_more(void)
{
    for (uint64_t handle = 1; handle <= 3000; handle++)
        has_ledger_add(HAS_LEDGER_POINTER, handle << 9, handle);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    /* A pool that hands out ever new addresses, some hundred at a time. */
    for (uint64_t handle = 10000; handle < 1000000; handle++) {
        has_ledger_add(HAS_LEDGER_POINTER, handle << 9, handle);
        if (handle >= 10500)
            CHECK(has_ledger_remove(HAS_LEDGER_POINTER, (handle - 500) << 9) == handle - 500);
    }
    CHECK(mallinfo2().uordblks + mallinfo2().hblkhd <= before * 2);
    for (uint64_t handle = 1; handle <= 3000; handle++)
        CHECK(has_ledger_remove(HAS_LEDGER_POINTER, handle << 9) == handle);
    CHECK(has_ledger_remove(HAS_LEDGER_POINTER, 1 << 9) == 0);
    CHECK(has_ledger_get(HAS_LEDGER_ARRAY, 999999ull << 9) == 0);
}

static void physical_memory_counts_its_holders(void)
{
    uint64_t physical;
    has_ledger_add(HAS_LEDGER_PHYSICAL, 7, 100);
    has_ledger_retain(HAS_LEDGER_PHYSICAL, 7);
    has_ledger_map(0x10000, 0x1000, 7);
    CHECK(has_ledger_release(HAS_LEDGER_PHYSICAL, 7) == 0);
    CHECK(!has_ledger_unmap(0x20000, 0x1000, &physical));
    CHECK(has_ledger_unmap(0x8000, 0x10000, &physical) && physical == 7); /* inside the range */
    CHECK(has_ledger_release(HAS_LEDGER_PHYSICAL, 7) == 100);
    CHECK(has_ledger_release(HAS_LEDGER_PHYSICAL, 7) == 0);
}

static void graphs_in_use_are_told_at_any_uptime(void)
{
    /* Counted from the boot of the machine, so 25 days are beyond a signed number. */
    for (unsigned day = 0, now = 5000; day < 50; day++, now += 86400000u) {
        CHECK(has_graph_in_use(now, now - 10, 0));
        CHECK(!has_graph_in_use(now, now - 2000, 0));
        CHECK(!has_graph_in_use(now, 0, 0));
        CHECK(has_graph_in_use(now, now - 10, now - 11));
        CHECK(!has_graph_in_use(now, now - 10, now - 10));
        CHECK(!has_graph_in_use(now, now - 10, now));
    }
}

MAIN(CASE(the_ledger_keeps_what_is_live_and_no_more), CASE(physical_memory_counts_its_holders),
     CASE(a_window_grants_its_share), CASE(windows_begin_at_the_phase),
     CASE(debt_is_carried_and_unspent_time_hardly),
     CASE(debt_ends_at_its_limit_and_a_refund_is_whole),
     CASE(more_sms_cost_more_time_and_fewer_cost_no_less), CASE(a_wait_is_bounded),
     CASE(random_kernels_get_their_share), CASE(bitmaps_say_which_sms),
     CASE(estimates_find_the_lengths_of_launches), CASE(graphs_in_use_are_told_at_any_uptime))
