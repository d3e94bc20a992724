/* Which graphs are worth being made for another partition. Pure: no clock, no memory but the
 * arguments, which are milliseconds that begin anew every 49 days. */
#ifndef HAS_GRAPH_RULES_H
#define HAS_GRAPH_RULES_H

#include <stdbool.h>

#define HAS_GRAPH_LATELY_MS 2000u

/* Launched lately, and since something that it may be made of went away. `used` 0: never. */
static inline bool has_graph_in_use(unsigned now, unsigned used, unsigned unloaded)
{
    unsigned ago = now - used;
    return used && ago < HAS_GRAPH_LATELY_MS && ago < now - unloaded;
}

#endif
