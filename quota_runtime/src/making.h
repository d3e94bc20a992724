/* The making of partitions: in a thread of its own, since it takes milliseconds.
 *
 * What the limits ask for comes first, streams that are in use before idle ones. Those that the
 * limits name as likely to come are made while nothing else is being made, one after the other, so that
 * they can be used at once when they do.
 */
#ifndef HAS_MAKING_H
#define HAS_MAKING_H

#include "state.h"

/* The partition that these limits ask for is to be made; NULL: none is. */
void has_making_want(const struct has_view *view);
bool has_making_wanted(void);

/* It has been made: false when another one is wanted by now. */
bool has_making_made(const struct has_view *view);

/* Holds a launch back while what is wanted is made, for a bounded time: the driver waits for the
 * program's own work several times over, so a program that goes on launching makes it take several
 * times as long. What the calling thread was held back since it last asked. */
void has_making_hold(void);
uint64_t has_making_held_ns(void);

/* Has a thread make what is wanted. From the helper thread. */
void has_making_start(void);

/* Has a thread make one of those that may come next, if one is lacking. From the helper thread. */
void has_making_ahead(const struct has_view *view);

void has_making_after_fork(void);

#endif
