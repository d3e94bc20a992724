/* The words of a lease file that pods agree on: each function is one step of the protocol, on
 * atomics alone. */
#ifndef HAS_LEASE_WORDS_H
#define HAS_LEASE_WORDS_H

#include "state.h"

/* Bitmap of the pods that run. */
uint64_t has_words_running(struct has_leases *file);

/* Conflicting pods that wait, as far as they are alive. */
uint64_t has_words_waiting(struct has_leases *file, const struct has_view *view, uint64_t now_ns);

/* Says that the pod spends its whole quota. */
void has_words_spends(struct has_leases *file, const struct has_view *view, uint64_t now_ns);

/* Whether all that wait said so lately, and share their SMs with the same pods as this one. */
bool has_words_all_may_wait(struct has_leases *file, uint64_t waiting, const struct has_view *view,
                            uint64_t now_ns);

/* Sets the pod's bit if none of those runs that it conflicts with. */
bool has_words_take(struct has_leases *file, const struct has_view *view, uint64_t now_ns);

/* Clears a pod's bit, and wakes those that wait. */
void has_words_clear(struct has_leases *file, uint64_t bits);

/* Clears the bits of conflicting pods that have been silent for too long. */
void has_words_step_over(struct has_leases *file, const struct has_view *view, uint64_t now_ns);

/* Whether a conflicting pod waits that comes before this one, which is urgent from then on. */
bool has_words_queued(struct has_leases *file, const struct has_view *view, int64_t urgent_at_ns,
                      uint64_t now_ns);

/* Says that the pod waits, or still waits, and from when on it is urgent (INT64_MAX: never); takes
 * that back. */
void has_words_wait(struct has_leases *file, const struct has_view *view, int64_t urgent_at_ns,
                    uint64_t now_ns);
void has_words_wait_no_more(struct has_leases *file, uint64_t bits);

/* Tells those that wait that the pod lets go soon, so that they stay awake; takes that back. */
void has_words_announce(struct has_leases *file, const struct has_view *view);
void has_words_announce_no_more(struct has_leases *file, uint64_t bits);

/* Sleeps until somebody lets go after `seen` of `wake` was read, or for `ns`. */
void has_words_sleep(struct has_leases *file, uint32_t seen, uint64_t ns);

#endif
