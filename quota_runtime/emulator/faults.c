/* Faults on demand, so that programs can be tested for them.
 *
 * HAS_EMULATOR_FAULT is a comma-separated list, read once:
 *   alloc_after=N, launch_after=N, green_after=N, stream_after=N, instantiate_after=N: every call of
 *     that kind beyond the first N fails;
 *   query_delay_us=N, green_delay_us=N, green_stream_delay_us=N, instantiate_delay_us=N,
 *     graph_launch_delay_us=N: queries of events and streams, green contexts, streams on them,
 *     executable graphs, and what comes before a graph's launch take so long;
 *   green_trips=N: a green context waits so often for what the program has in flight;
 *   graph_sms=N: launches of graphs with kernels on fewer SMs are refused, as if their clusters did
 *     not fit;
 *   graphs=N, greens=N: so many executable graphs and green contexts are allowed at a time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "objects.h"

#define NO_LIMIT (~0ul)

static unsigned long limits[FAULT_KINDS], calls[FAULT_KINDS], delays_us[SLOW_KINDS];
static unsigned long graph_sms, graphs, greens, green_trips;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static unsigned long number_of(const char *key, unsigned long otherwise)
{
    const char *faults = getenv("HAS_EMULATOR_FAULT");
    const char *found = faults ? strstr(faults, key) : NULL;
    return found ? strtoul(found + strlen(key), NULL, 10) : otherwise;
}

static void read_faults(void)
{
    static const char *const keys[FAULT_KINDS] = {
        [FAULT_ALLOC] = "alloc_after=",
        [FAULT_LAUNCH] = "launch_after=",
        [FAULT_GREEN] = "green_after=",
        [FAULT_STREAM] = "stream_after=",
        [FAULT_INSTANTIATE] = "instantiate_after=",
    };
    static const char *const slow[SLOW_KINDS] = {
        [SLOW_QUERY] = "query_delay_us=",
        [SLOW_GREEN] = "green_delay_us=",
        [SLOW_GREEN_STREAM] = "green_stream_delay_us=",
        [SLOW_INSTANTIATE] = "instantiate_delay_us=",
        [SLOW_GRAPH_LAUNCH] = "graph_launch_delay_us=",
    };
    for (int kind = 0; kind < FAULT_KINDS; kind++)
        limits[kind] = number_of(keys[kind], NO_LIMIT);
    for (int kind = 0; kind < SLOW_KINDS; kind++)
        delays_us[kind] = number_of(slow[kind], 0);
    graph_sms = number_of("graph_sms=", 0);
    graphs = number_of("graphs=", NO_LIMIT);
    greens = number_of("greens=", NO_LIMIT);
    green_trips = number_of("green_trips=", 0);
}

unsigned long fault_graphs(void)
{
    pthread_once(&once, read_faults);
    return graphs;
}

unsigned long fault_greens(void)
{
    pthread_once(&once, read_faults);
    return greens;
}

unsigned long fault_green_trips(void)
{
    pthread_once(&once, read_faults);
    return green_trips;
}

int fault_graph_sms(void)
{
    pthread_once(&once, read_faults);
    return (int)graph_sms;
}

bool fault_due(enum fault kind)
{
    pthread_once(&once, read_faults);
    if (limits[kind] == NO_LIMIT)
        return false;
    return __atomic_fetch_add(&calls[kind], 1, __ATOMIC_RELAXED) >= limits[kind];
}

void fault_slow(enum slow kind)
{
    pthread_once(&once, read_faults);
    if (delays_us[kind])
        usleep((useconds_t)delays_us[kind]);
}
