/* Which kernel gets how many SMs: processor sharing on overlapping SM sets. Pure arithmetic. */
#ifndef EMU_SHARE_H
#define EMU_SHARE_H

#include <stdbool.h>

#include "gpu_file.h"

struct share_job {
    struct sm_set sms; /* where it may run */
    double cap;        /* SMs it can use, at most */
    double given;      /* out: SMs it gets */
};

int sm_set_size(const struct sm_set *set);
bool sm_set_equal(const struct sm_set *a, const struct sm_set *b);
bool sm_set_overlap(const struct sm_set *a, const struct sm_set *b);

/* SMs first..first+count-1. */
struct sm_set sm_set_range(unsigned first, unsigned count);
struct sm_set sm_set_union(const struct sm_set *a, const struct sm_set *b);

/* Share every SM equally among the jobs that may run on it; what a job cannot use goes to the
 * others of its SMs. Jobs on disjoint sets never influence each other. */
void share_sms(struct share_job *jobs, int count);

#endif
