/* The arithmetic of the time quota. Pure: no clock, no memory but the arguments. */
#ifndef HAS_BUDGET_H
#define HAS_BUDGET_H

#include <stdint.h>

#define HAS_PPM 1000000u

/* GPU time that a window grants at a share in parts per million. */
static inline int64_t has_budget_of(uint64_t window_ns, uint32_t share_ppm)
{
    return (int64_t)(window_ns / 1000 * share_ppm / 1000);
}

/* Number of the window that `now_ns` lies in, windows starting at `phase_ns`. */
static inline uint64_t has_window_at(uint64_t now_ns, uint64_t window_ns, uint64_t phase_ns)
{
    return (now_ns + window_ns - phase_ns % window_ns) / window_ns;
}

static inline uint64_t has_window_end(uint64_t now_ns, uint64_t window_ns, uint64_t phase_ns)
{
    uint64_t into = (now_ns + window_ns - phase_ns % window_ns) % window_ns;
    return now_ns + window_ns - into;
}

/* The balance after `windows` new windows: debt is paid off, unspent time is kept up to
 * `keep_ns` only. */
static inline int64_t has_budget_credit(int64_t balance_ns, uint64_t windows, int64_t budget_ns,
                                        int64_t keep_ns)
{
    int64_t cap = budget_ns + keep_ns;
    if (windows > 1000000)
        windows = 1000000;
    int64_t credited = balance_ns + (int64_t)windows * budget_ns;
    return credited > cap ? cap : credited;
}

/* The balance after a charge; debt stops at `debt_limit_ns`, so that a wait stays bounded. */
static inline int64_t has_budget_charge(int64_t balance_ns, int64_t charge_ns,
                                        int64_t debt_limit_ns)
{
    int64_t left = balance_ns - charge_ns;
    return left < -debt_limit_ns && charge_ns > 0
               ? (balance_ns < -debt_limit_ns ? balance_ns : -debt_limit_ns)
               : left;
}

/* What GPU time costs: on more SMs than granted it costs more, so that SMs x time stays what was
 * granted (area compensation). */
static inline uint64_t has_area_price(uint64_t ns, uint32_t sms_used, uint32_t sms_granted)
{
    return sms_granted && sms_used > sms_granted ? ns * sms_used / sms_granted : ns;
}

/* The longest one launch may be held back, whatever the debt and the quota. */
static inline uint64_t has_longest_wait(uint64_t window_ns)
{
    uint64_t wait = window_ns * 100;
    return wait < 1000000000ull ? 1000000000ull : wait > 20000000000ull ? 20000000000ull : wait;
}

#endif
