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

static void the_longest_waiter_comes_first_unless_it_could_not_run(void)
{
    CHECK(has_lease_comes_first(10, 20, true, 30, 50));
    CHECK(has_lease_comes_first(10, 0, true, 30, 50)); /* not in the queue yet */
    CHECK(!has_lease_comes_first(20, 10, true, 30, 50));
    CHECK(!has_lease_comes_first(10, 20, false, 30, 50));
    CHECK(has_lease_comes_first(10, 20, false, 61, 50)); /* passed over for long enough */
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

static bool may_take(const struct world *w, unsigned i)
{
    int64_t mine = w->waiting >> i & 1 ? w->waits_since[i] : 0;
    for (unsigned j = 0; j < PODS; j++)
        if (w->waiting & w->conflicts[i] & 1u << j &&
            has_lease_comes_first(w->waits_since[j], mine, !(w->running & w->conflicts[j]), w->now,
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
     CASE(a_turn_ends_when_others_wait_and_it_was_long_enough), CASE(who_borrows_gives_way_at_once),
     CASE(a_lost_or_doubtful_lease_is_left), CASE(processes_of_a_pod_join_unless_it_is_giving_way),
     CASE(the_longest_waiter_comes_first_unless_it_could_not_run),
     CASE(what_others_took_is_kept_and_no_more), CASE(nobody_meets_and_nobody_starves))
