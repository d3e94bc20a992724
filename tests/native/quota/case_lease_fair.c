/* Shares of pods that always want the GPU and all of whose time is promised, where one overlaps
 * several that do not overlap each other; on no clock and no GPU. Hosts hold pods up now and then. */
#include "../../../quota_runtime/src/lease_rules.h"
#include "../emulator/check.h"

#define US 1000ll
#define MS 1000000ll
#define STEP (100 * US)
#define WINDOW (50 * MS)
#define PODS 5
#define WINDOWS 60
#define RUNS 8

struct pod {
    uint64_t conflicts;
    int quota; /* permille */
    int64_t balance, credited, waited, lost, since, ends_at, back_at, got;
    bool spends;
    enum { IDLE, RUNS_NOW, LEAVING } state;
    struct has_lease_claim claim;
};

struct world {
    struct pod pods[PODS];
    int count, stalls; /* of 1000 steps, in how many a pod is held up */
    bool knows_urgency;
    int64_t now;
    uint64_t seed;
};

static int64_t pick(struct world *w, int64_t low, int64_t below)
{
    w->seed = w->seed * 6364136223846793005ull + 1442695040888963407ull;
    return low + (int64_t)(w->seed >> 33) % (below - low);
}

static uint64_t running(const struct world *w)
{
    uint64_t bits = 0;
    for (int i = 0; i < w->count; i++)
        bits |= (uint64_t)(w->pods[i].state != IDLE) << i;
    return bits;
}

static void credit(struct pod *pod)
{
    int64_t budget = WINDOW / 1000 * pod->quota;
    int64_t most = budget + has_lease_keep(2 * MS, (uint64_t)pod->waited, WINDOW);
    int64_t cut = pod->balance + budget - most;
    pod->spends = has_lease_spends(pod->credited - pod->balance, budget, 1, 0, WINDOW);
    pod->balance = cut > 0 ? most : pod->balance + budget;
    pod->credited = pod->balance;
    pod->lost = has_lease_lost(pod->lost, 1, cut, (uint64_t)pod->waited);
    pod->waited = 0;
}

static int64_t urgent_at(const struct world *w, const struct pod *pod)
{
    return has_lease_urgent_at((uint64_t)((w->now / WINDOW + 1) * WINDOW), pod->balance);
}

static bool held_up(const struct world *w, int i)
{
    struct has_lease_claim mine = {w->pods[i].claim.since_ns, urgent_at(w, &w->pods[i])};
    for (int j = 0; j < w->count; j++)
        if (w->pods[i].conflicts >> j & 1 && w->pods[j].claim.since_ns &&
            has_lease_comes_first(w->pods[j].claim, mine,
                                  !(running(w) & w->pods[j].conflicts), w->now, WINDOW))
            return true;
    return false;
}

static uint64_t waiting(const struct world *w)
{
    uint64_t bits = 0;
    for (int i = 0; i < w->count; i++)
        bits |= (uint64_t)(w->pods[i].claim.since_ns != 0) << i;
    return bits;
}

static bool all_may_wait(const struct world *w, int holder, uint64_t waiting)
{
    for (int i = 0; i < w->count; i++)
        if (waiting >> i & 1 &&
            !(w->pods[i].spends && has_lease_alike(1ull << holder, w->pods[holder].conflicts,
                                                    1ull << i, w->pods[i].conflicts)))
            return false;
    return waiting;
}

static void leave(struct world *w, struct pod *pod)
{
    pod->state = LEAVING; /* what is in flight ends first */
    pod->ends_at = w->now + pick(w, 200 * US, 1200 * US);
}

static void act(struct world *w, int i)
{
    struct pod *pod = &w->pods[i];
    if (pod->state == LEAVING && w->now >= pod->ends_at)
        pod->state = IDLE;
    if (pod->state == RUNS_NOW && pick(w, 0, 1000) < w->stalls) {
        pod->back_at = w->now + pick(w, MS, 5 * MS);
        leave(w, pod);
    }
    if (pod->state == LEAVING || w->now < pod->back_at) {
        pod->claim.since_ns = 0;
        return;
    }
    bool loses = has_lease_loses(pod->lost, WINDOW / 1000 * pod->quota);
    pod->claim.urgent_at_ns = w->knows_urgency && loses ? urgent_at(w, pod) : INT64_MAX;
    bool may_wait = all_may_wait(w, i, waiting(w) & pod->conflicts);
    struct has_lease_look look = {.mine = 1ull << i,
                                  .conflicts = pod->conflicts,
                                  .running = running(w),
                                  .waiting = waiting(w),
                                  .on = pod->state == RUNS_NOW,
                                  .balance_ns = pod->balance,
                                  .held_ns = (uint64_t)(w->now - pod->since),
                                  .slice_ns = has_lease_turn(8 * MS, WINDOW, may_wait)};
    enum has_lease_verdict verdict = has_lease_decide(&look);
    if (verdict == HAS_LEASE_TAKE && !held_up(w, i)) {
        pod->state = RUNS_NOW;
        pod->since = w->now;
        pod->claim.since_ns = 0;
    } else if (verdict == HAS_LEASE_LEAVE) {
        leave(w, pod);
    } else if (verdict == HAS_LEASE_SPENT) {
        pod->claim.since_ns = 0;
    } else if (verdict != HAS_LEASE_RUN && !pod->claim.since_ns) {
        pod->claim.since_ns = w->now;
    }
}

static void pass(struct pod *pod)
{
    if (pod->state != IDLE) {
        pod->balance -= STEP;
        pod->got += STEP;
    } else if (pod->claim.since_ns) {
        pod->waited += STEP;
    }
}

/* One pod over `sides` others. What the first got and the least that another did, in permille of
 * their quotas. */
struct shares {
    int64_t middle, side;
};

static struct shares star(int sides, int quota, int stalls, bool knows_urgency)
{
    struct shares total = {0, 0};
    for (uint64_t seed = 1; seed <= RUNS; seed++) {
        struct world w = {.count = sides + 1, .stalls = stalls, .seed = seed, .now = WINDOW,
                          .knows_urgency = knows_urgency};
        for (int i = 0; i <= sides; i++) {
            w.pods[i].quota = i ? 1000 - quota : quota;
            w.pods[i].conflicts = i ? 1 : (2ull << sides) - 2;
        }
        for (int step = 0; step < WINDOWS * (int)(WINDOW / STEP); step++, w.now += STEP) {
            for (int i = 0; i <= sides && w.now % WINDOW == 0; i++)
                credit(&w.pods[i]);
            for (int turn = 0, i = (int)pick(&w, 0, w.count); turn < w.count; turn++)
                act(&w, (i + turn) % w.count);
            for (int i = 0; i <= sides; i++) {
                CHECK(!(w.pods[i].state != IDLE && running(&w) & w.pods[i].conflicts));
                pass(&w.pods[i]);
            }
        }
        int64_t side = INT64_MAX;
        for (int i = 1; i <= sides; i++)
            side = w.pods[i].got < side ? w.pods[i].got : side;
        total.middle += w.pods[0].got * 1000000 / quota / WINDOWS / WINDOW;
        total.side += side * 1000000 / (1000 - quota) / WINDOWS / WINDOW;
    }
    return (struct shares){total.middle / RUNS, total.side / RUNS};
}

/* The control: without urgency it gets what two that alternate leave to it. */
static void one_over_two_that_alternate_keeps_its_share(void)
{
    struct shares without = star(2, 250, 2, false), with = star(2, 250, 2, true);
    CHECK(without.middle < 860 && without.side > 980);
    CHECK(with.middle > 920 && with.side > 940);
}

static void one_over_four_keeps_most_of_its_share(void)
{
    struct shares without = star(4, 250, 2, false), with = star(4, 250, 2, true);
    CHECK(without.middle < 720);
    CHECK(with.middle > 880 && with.side > 850);
}

static void on_a_calm_host_nobody_loses_much(void)
{
    struct shares one = star(1, 250, 0, true), four = star(4, 250, 0, true);
    CHECK(one.middle > 980 && one.side > 980);
    CHECK(four.middle > 940 && four.side > 990); /* what is lost where they meet is borne */
}

MAIN(CASE(one_over_two_that_alternate_keeps_its_share), CASE(one_over_four_keeps_most_of_its_share),
     CASE(on_a_calm_host_nobody_loses_much))
