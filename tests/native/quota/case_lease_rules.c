/* Whose turn it is, on no clock and no GPU. */
#include "../../../quota_runtime/src/lease_rules.h"
#include "../emulator/check.h"

#define MS 1000000ll
#define PODS 8
#define RUNS 400
#define STEPS 400

static struct has_lease_look look(void)
{
    return (struct has_lease_look){
        .mine = 2, .conflicts = 4, .balance_ns = MS, .slice_ns = 8 * MS};
}

static void with_budget_only_those_who_run_are_waited_for(void)
{
    struct has_lease_look l = look();
    CHECK(has_lease_decide(&l) == HAS_LEASE_TAKE);
    l.running = 8; /* no conflict */
    CHECK(has_lease_decide(&l) == HAS_LEASE_TAKE);
    l.waiting = 4;
    CHECK(has_lease_decide(&l) == HAS_LEASE_TAKE);
    l.running = 4;
    CHECK(has_lease_decide(&l) == HAS_LEASE_QUEUE);
}

static void without_budget_nothing_runs_unless_it_may_borrow(void)
{
    struct has_lease_look l = look();
    l.balance_ns = 0;
    CHECK(has_lease_decide(&l) == HAS_LEASE_SPENT);
    l.burst = true;
    CHECK(has_lease_decide(&l) == HAS_LEASE_TAKE);
    l.running = 4;
    CHECK(has_lease_decide(&l) == HAS_LEASE_SPENT);
    l.running = 0;
    l.waiting = 4;
    CHECK(has_lease_decide(&l) == HAS_LEASE_SPENT);
    l.waiting = 8; /* waits for somebody else */
    CHECK(has_lease_decide(&l) == HAS_LEASE_TAKE);
}

static void a_turn_ends_when_others_wait_and_it_was_long_enough(void)
{
    struct has_lease_look l = look();
    l.on = true;
    l.running = 2;
    l.held_ns = 100 * MS;
    CHECK(has_lease_decide(&l) == HAS_LEASE_RUN);
    l.waiting = 4;
    CHECK(has_lease_decide(&l) == HAS_LEASE_LEAVE);
    l.held_ns = 7 * MS;
    CHECK(has_lease_decide(&l) == HAS_LEASE_RUN);
    l.waiting = 8;
    l.held_ns = 100 * MS;
    CHECK(has_lease_decide(&l) == HAS_LEASE_RUN);
    l.balance_ns = -1;
    CHECK(has_lease_decide(&l) == HAS_LEASE_LEAVE);
}

static void who_spends_nearly_all_of_its_quota_in_each_window_is_held_back_by_it(void)
{
    uint64_t soon = MS, window = 50 * MS;
    CHECK(has_lease_spends(25 * MS, 25 * MS, 1, soon, window));
    CHECK(has_lease_spends(40 * MS, 25 * MS, 1, soon, window));
    CHECK(has_lease_spends(23 * MS, 25 * MS, 1, soon, window));
    CHECK(!has_lease_spends(22 * MS, 25 * MS, 1, soon, window));
    CHECK(has_lease_spends(46 * MS, 25 * MS, 2, soon, window));
    CHECK(!has_lease_spends(25 * MS, 25 * MS, 2, soon, window));
    CHECK(!has_lease_spends(0, 0, 1, soon, window) && !has_lease_spends(-MS, 25 * MS, 1, soon, window));
}

/* Requests that all but fill a quota and come whenever they come do not wait for it. */
static void who_is_not_there_when_a_window_begins_is_not_held_back(void)
{
    CHECK(has_lease_spends(10 * MS, 10 * MS, 1, 3 * MS, 50 * MS));
    CHECK(!has_lease_spends(10 * MS, 10 * MS, 1, 4 * MS, 50 * MS));
}

static void turns_last_longer_only_where_all_that_wait_spend_their_quota(void)
{
    CHECK(has_lease_turn(8 * MS, 50 * MS, false) == 8 * MS);
    CHECK(has_lease_turn(8 * MS, 50 * MS, true) == 25 * MS);
    CHECK(has_lease_turn(30 * MS, 50 * MS, true) == 30 * MS); /* never shorter than asked for */
}

static void pods_are_alike_where_each_overlaps_the_same_ones(void)
{
    CHECK(has_lease_alike(2, 4, 4, 2) && has_lease_alike(2, 4 | 8, 8, 2 | 4));
    CHECK(!has_lease_alike(2, 4 | 8, 4, 2)); /* the third is in the way of one only */
    CHECK(!has_lease_alike(4, 2, 2, 4 | 8));
}

static void who_borrows_gives_way_at_once(void)
{
    struct has_lease_look l = look();
    l.on = l.burst = true;
    l.running = 2;
    l.balance_ns = -MS;
    CHECK(has_lease_decide(&l) == HAS_LEASE_BORROW);
    l.waiting = 4;
    CHECK(has_lease_decide(&l) == HAS_LEASE_LEAVE);
}

static void a_lost_or_doubtful_lease_is_left(void)
{
    struct has_lease_look l = look();
    l.on = true;
    CHECK(has_lease_decide(&l) == HAS_LEASE_LEAVE); /* stepped over meanwhile */
    l.running = 2 | 4;
    CHECK(has_lease_decide(&l) == HAS_LEASE_LEAVE);
}

static void processes_of_a_pod_join_unless_it_is_giving_way(void)
{
    struct has_lease_look l = look();
    l.running = 2;
    CHECK(has_lease_decide(&l) == HAS_LEASE_TAKE);
    l.waiting = 4;
    l.held_ns = 9 * MS;
    CHECK(has_lease_decide(&l) == HAS_LEASE_QUEUE);
}

static bool first(int64_t theirs_ns, int64_t mine_ns, bool could_run, int64_t now)
{
    struct has_lease_claim theirs = {theirs_ns, INT64_MAX}, mine = {mine_ns, INT64_MAX};
    return has_lease_comes_first(theirs, mine, could_run, now, 50);
}

static void the_longest_waiter_comes_first_unless_it_could_not_run(void)
{
    CHECK(first(10, 20, true, 30));
    CHECK(first(10, 0, true, 30)); /* not in the queue yet */
    CHECK(!first(20, 10, true, 30));
    CHECK(!first(10, 20, false, 30));
    CHECK(first(10, 20, false, 61)); /* passed over for long enough */
}

static bool urgent_first(int64_t theirs_at, int64_t mine_at, int64_t now)
{
    struct has_lease_claim theirs = {10, theirs_at}, mine = {0, mine_at};
    return has_lease_comes_first(theirs, mine, false, now, 50);
}

static void one_that_cannot_run_holds_up_who_is_less_urgent_once_it_is(void)
{
    CHECK(urgent_first(30, 40, 30));
    CHECK(!urgent_first(30, 40, 29));
    CHECK(!urgent_first(30, 30, 35));
    CHECK(!urgent_first(30, 20, 35));
    struct has_lease_claim later = {10, 30}, earlier = {9, 40};
    CHECK(!has_lease_comes_first(later, earlier, false, 35, 50)); /* or each might hold up the other */
    CHECK(has_lease_urgent_at(50 * MS, 12 * MS) == 38 * MS);
    CHECK(has_lease_urgent_at(50 * MS, -3 * MS) == 53 * MS);
}

static void losses_to_others_fade_and_few_are_borne(void)
{
    int64_t lost = 0, budget = 10 * MS;
    CHECK(has_lease_lost(0, 1, 5 * MS, 3 * MS) == 3 * MS); /* the rest it did not want */
    CHECK(has_lease_lost(0, 1, -5 * MS, 3 * MS) == 0);
    CHECK(has_lease_lost(5 * MS, 1000000, 0, 0) == 0);
    for (int window = 0; window < 100; window++)
        lost = has_lease_lost(lost, 1, budget / 50, 50 * MS);
    CHECK(!has_lease_loses(lost, budget));
    for (int window = 0; window < 100; window++)
        lost = has_lease_lost(lost, 1, budget / 25, 50 * MS);
    CHECK(has_lease_loses(lost, budget));
    lost = has_lease_lost(lost, 10, 0, 0);
    CHECK(!has_lease_loses(lost, budget));
}

static void what_others_took_is_kept_and_no_more(void)
{
    CHECK(has_lease_keep(2 * MS, 0, 50 * MS) == 2 * MS);
    CHECK(has_lease_keep(2 * MS, 5 * MS, 50 * MS) == 7 * MS);
    CHECK(has_lease_keep(2 * MS, 500 * MS, 50 * MS) == 52 * MS);
}

/* Random pods with random conflicts, wishes and budgets, one step after the other. */
struct world {
    uint64_t conflicts[PODS], running, waiting;
    int64_t balance[PODS], since[PODS], waits_since[PODS], now;
    bool burst[PODS], busy[PODS];
    uint64_t seed;
};

static unsigned pick(struct world *w, unsigned below)
{
    w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(w->seed >> 33) % below;
}

static struct world random_world(uint64_t seed)
{
    struct world w = {.seed = seed};
    for (unsigned i = 0; i < PODS; i++) {
        w.burst[i] = pick(&w, 2);
        for (unsigned j = 0; j < i; j++)
            if (pick(&w, 2)) {
                w.conflicts[i] |= 1u << j;
                w.conflicts[j] |= 1u << i;
            }
    }
    return w;
}

static struct has_lease_look seen_by(const struct world *w, unsigned i)
{
    return (struct has_lease_look){.mine = 1u << i,
                                   .conflicts = w->conflicts[i],
                                   .running = w->running,
                                   .waiting = w->waiting,
                                   .on = w->running >> i & 1,
                                   .burst = w->burst[i],
                                   .balance_ns = w->balance[i],
                                   .held_ns = (uint64_t)(w->now - w->since[i]),
                                   .slice_ns = 8 * MS};
}

static struct has_lease_claim claim(const struct world *w, unsigned i)
{
    int64_t window = 50 * MS, end = (w->now / window + 1) * window;
    return (struct has_lease_claim){w->waiting >> i & 1 ? w->waits_since[i] : 0,
                                    has_lease_urgent_at((uint64_t)end, w->balance[i])};
}

static bool may_take(const struct world *w, unsigned i)
{
    for (unsigned j = 0; j < PODS; j++)
        if (w->waiting & w->conflicts[i] & 1u << j &&
            has_lease_comes_first(claim(w, j), claim(w, i), !(w->running & w->conflicts[j]), w->now,
                                  50 * MS))
            return false;
    return !(w->running & w->conflicts[i]);
}

static void act(struct world *w, unsigned i)
{
    struct has_lease_look l = seen_by(w, i);
    uint64_t bit = 1u << i;
    enum has_lease_verdict verdict = has_lease_decide(&l);
    if (verdict == HAS_LEASE_TAKE && !may_take(w, i))
        verdict = HAS_LEASE_QUEUE;
    if (verdict == HAS_LEASE_TAKE) {
        w->running |= bit;
        w->waiting &= ~bit;
        w->since[i] = w->now;
    } else if (verdict == HAS_LEASE_LEAVE) {
        w->running &= ~bit;
    } else if (verdict == HAS_LEASE_QUEUE && !(w->waiting & bit)) {
        w->waiting |= bit;
        w->waits_since[i] = w->now;
    } else if (verdict == HAS_LEASE_SPENT) {
        w->waiting &= ~bit;
    }
}

static void nobody_meets_and_nobody_starves(void)
{
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct world w = random_world(seed);
        int64_t waited[PODS] = {0};
        for (int step = 0; step < STEPS; step++) {
            w.now += MS / 2;
            for (unsigned i = 0; i < PODS; i++) {
                w.balance[i] += step % 100 == 0 ? 50 * MS / (1 + __builtin_popcountll(w.conflicts[i])) : 0;
                if (w.running >> i & 1)
                    w.balance[i] -= w.balance[i] > 0 ? MS / 2 : 0;
            }
            for (unsigned turn = 0, i = pick(&w, PODS); turn < PODS; turn++, i = (i + 1) % PODS)
                act(&w, i);
            for (unsigned i = 0; i < PODS; i++) {
                if (w.running >> i & 1)
                    CHECK(!(w.running & w.conflicts[i]));
                waited[i] = w.waiting >> i & 1 ? w.now - w.waits_since[i] : 0;
                /* Everybody in front has a turn, and then it is this one's. */
                CHECK(waited[i] < 50 * MS + 2 * PODS * 9 * MS);
                bool could = !(w.waiting & w.conflicts[i]) && !(w.running & (w.conflicts[i] | 1u << i));
                if (could && (w.balance[i] > 0 || w.burst[i])) {
                    act(&w, i);
                    CHECK(w.running >> i & 1); /* what nobody wants is used at once */
                }
            }
        }
    }
}

MAIN(CASE(with_budget_only_those_who_run_are_waited_for),
     CASE(without_budget_nothing_runs_unless_it_may_borrow),
     CASE(a_turn_ends_when_others_wait_and_it_was_long_enough),
     CASE(who_spends_nearly_all_of_its_quota_in_each_window_is_held_back_by_it),
     CASE(pods_are_alike_where_each_overlaps_the_same_ones),
     CASE(who_is_not_there_when_a_window_begins_is_not_held_back),
     CASE(turns_last_longer_only_where_all_that_wait_spend_their_quota), CASE(who_borrows_gives_way_at_once),
     CASE(a_lost_or_doubtful_lease_is_left), CASE(processes_of_a_pod_join_unless_it_is_giving_way),
     CASE(the_longest_waiter_comes_first_unless_it_could_not_run),
     CASE(one_that_cannot_run_holds_up_who_is_less_urgent_once_it_is),
     CASE(losses_to_others_fade_and_few_are_borne), CASE(what_others_took_is_kept_and_no_more), CASE(nobody_meets_and_nobody_starves))
