#include "share.h"

#define MAX_ATOMS (EMU_SM_WORDS * 64)
#define ROUNDS 24
#define NEGLIGIBLE_SM 1e-6

int sm_set_size(const struct sm_set *set)
{
    int size = 0;
    for (int i = 0; i < EMU_SM_WORDS; i++)
        size += __builtin_popcountll(set->word[i]);
    return size;
}

bool sm_set_equal(const struct sm_set *a, const struct sm_set *b)
{
    uint64_t differ = 0;
    for (int i = 0; i < EMU_SM_WORDS; i++)
        differ |= a->word[i] ^ b->word[i];
    return differ == 0;
}

bool sm_set_overlap(const struct sm_set *a, const struct sm_set *b)
{
    uint64_t common = 0;
    for (int i = 0; i < EMU_SM_WORDS; i++)
        common |= a->word[i] & b->word[i];
    return common != 0;
}

struct sm_set sm_set_range(unsigned first, unsigned count)
{
    struct sm_set set = {{0}};
    for (unsigned sm = first; sm < first + count && sm < EMU_SM_WORDS * 64; sm++)
        set.word[sm / 64] |= 1ull << (sm % 64);
    return set;
}

struct sm_set sm_set_union(const struct sm_set *a, const struct sm_set *b)
{
    struct sm_set set;
    for (int i = 0; i < EMU_SM_WORDS; i++)
        set.word[i] = a->word[i] | b->word[i];
    return set;
}

/* Max-min fair shares of the jobs that have the SM set of jobs[first]. */
static void fill_equal_sets(struct share_job *jobs, int count, int first)
{
    double left = sm_set_size(&jobs[first].sms);
    int waiting = 0;
    for (int i = first; i < count; i++)
        if (sm_set_equal(&jobs[i].sms, &jobs[first].sms)) {
            jobs[i].given = -1;
            waiting++;
        }
    for (bool changed = true; changed && waiting > 0;) {
        double share = left / waiting;
        changed = false;
        for (int i = first; i < count; i++) {
            struct share_job *job = &jobs[i];
            if (job->given >= 0 || job->cap > share || !sm_set_equal(&job->sms, &jobs[first].sms))
                continue;
            job->given = job->cap;
            left -= job->cap;
            waiting--;
            changed = true;
        }
    }
    for (int i = first; i < count; i++)
        if (jobs[i].given < 0 && sm_set_equal(&jobs[i].sms, &jobs[first].sms))
            jobs[i].given = left / waiting;
}

/* Cut the sets into the pieces that no job's set cuts further. */
static int make_atoms(const struct share_job *jobs, int count, struct sm_set *atoms)
{
    int made = 0;
    for (int i = 0; i < count; i++) {
        struct sm_set rest = jobs[i].sms;
        for (int a = 0, known = made; a < known && made < MAX_ATOMS; a++) {
            struct sm_set inside, outside;
            for (int w = 0; w < EMU_SM_WORDS; w++) {
                inside.word[w] = atoms[a].word[w] & jobs[i].sms.word[w];
                outside.word[w] = atoms[a].word[w] & ~jobs[i].sms.word[w];
                rest.word[w] &= ~atoms[a].word[w];
            }
            if (sm_set_size(&inside) > 0 && sm_set_size(&outside) > 0) {
                atoms[a] = inside;
                atoms[made++] = outside;
            }
        }
        if (sm_set_size(&rest) > 0 && made < MAX_ATOMS)
            atoms[made++] = rest;
    }
    return made;
}

static void fill_overlapping_sets(struct share_job *jobs, int count)
{
    struct sm_set atoms[MAX_ATOMS];
    double left[MAX_ATOMS], share[MAX_ATOMS];
    int atom_count = make_atoms(jobs, count, atoms);
    for (int a = 0; a < atom_count; a++)
        left[a] = sm_set_size(&atoms[a]);
    for (int i = 0; i < count; i++)
        jobs[i].given = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double taken = 0;
        for (int a = 0; a < atom_count; a++) {
            int wanting = 0;
            for (int i = 0; i < count; i++)
                wanting += jobs[i].given < jobs[i].cap - NEGLIGIBLE_SM &&
                           sm_set_overlap(&jobs[i].sms, &atoms[a]);
            share[a] = wanting > 0 ? left[a] / wanting : 0;
        }
        for (int i = 0; i < count; i++) {
            double offered = 0, room = jobs[i].cap - jobs[i].given;
            if (room <= NEGLIGIBLE_SM)
                continue;
            for (int a = 0; a < atom_count; a++)
                if (sm_set_overlap(&jobs[i].sms, &atoms[a]))
                    offered += share[a];
            if (offered <= 0)
                continue;
            double part = offered > room ? room / offered : 1;
            for (int a = 0; a < atom_count; a++)
                if (sm_set_overlap(&jobs[i].sms, &atoms[a]))
                    left[a] -= part * share[a];
            jobs[i].given += part * offered;
            taken += part * offered;
        }
        if (taken <= NEGLIGIBLE_SM)
            return;
    }
}

static bool sets_equal_or_disjoint(const struct share_job *jobs, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = 0; j < i; j++) {
            if (sm_set_equal(&jobs[i].sms, &jobs[j].sms))
                break; /* compared with the others when j was reached */
            if (sm_set_overlap(&jobs[i].sms, &jobs[j].sms))
                return false;
        }
    return true;
}

void share_sms(struct share_job *jobs, int count)
{
    if (!sets_equal_or_disjoint(jobs, count)) {
        fill_overlapping_sets(jobs, count);
        return;
    }
    for (int i = 0; i < count; i++)
        jobs[i].given = -2;
    for (int i = 0; i < count; i++)
        if (jobs[i].given == -2)
            fill_equal_sets(jobs, count, i);
}
