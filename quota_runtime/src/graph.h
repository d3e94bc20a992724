/* Graphs: on how many SMs each of them runs. A graph keeps the context of its capture, whatever
 * stream it is launched on. */
#ifndef HAS_GRAPH_H
#define HAS_GRAPH_H

#include <stdint.h>

#include "has_cuda.h"

/* A call was captured on a stream with so many SMs. */
void has_graph_captured(uint32_t sms);

/* A capture ended and gave this graph. */
void has_graph_ended(CUgraph graph);
void has_graph_gone(CUgraph graph);

/* An executable graph was made from a graph, and destroyed. */
void has_graph_made(CUgraphExec exec, CUgraph graph);
void has_graph_exec_gone(CUgraphExec exec);

/* SMs a launch of it uses; all of the device when it was not captured here. No lock. */
uint32_t has_graph_sms(CUgraphExec exec);

#endif
