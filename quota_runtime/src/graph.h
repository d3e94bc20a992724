/* Graphs: on how many SMs each of them runs, and the way to other SMs.
 *
 * A graph keeps the contexts of its capture, whatever stream it is launched on. So the library
 * keeps a copy of every graph that the program makes executable, makes it executable again for the
 * partition in force (the helper thread does, one after the other), and puts that in place of the
 * program's own at its next launch. Until then, and where it cannot be done, more SMs than granted
 * are paid for in time.
 */
#ifndef HAS_GRAPH_H
#define HAS_GRAPH_H

#include <stdint.h>

#include "lane.h"

#define HAS_MIXED (-3) /* several partitions, or one that is not known */

/* A call was captured on a stream with so many SMs. */
void has_graph_captured(uint32_t sms);

/* A graph was launched into a capture: the program's own, on the SMs of its own capture. */
struct has_graph_turn;
void has_graph_captured_graph(const struct has_graph_turn *turn);

/* A capture ended and gave this graph. */
void has_graph_ended(CUgraph graph);
void has_graph_gone(CUgraph graph);

/* An executable graph was made from a graph, and destroyed. */
void has_graph_made(CUgraphExec exec, CUgraph graph, unsigned long long flags);
void has_graph_exec_gone(CUgraphExec exec);

/* The program changes an executable graph: only its own can be launched from now on. */
void has_graph_changed(CUgraphExec exec);

/* One launch: what is really launched, and on how many SMs. */
struct has_graph;
struct has_graph_turn {
    CUgraphExec exec;
    uint32_t sms;
    int partition;
    struct has_graph *graph; /* NULL: not known, the program's own on all SMs */
    int held;
};

/* What the next launch would use. No lock, no driver call. */
struct has_graph_turn has_graph_look(CUgraphExec exec);

/* Takes the graph for one launch on a lane, which the caller has entered; orders the lane when
 * something else is launched than the last time. */
void has_graph_enter(struct has_graph_turn *turn, struct has_lane *lane);
void has_graph_leave(struct has_graph_turn *turn);

/* The driver refused what stood in for the program's own graph: that is used again, at once for
 * this launch. False when it was the program's own. */
bool has_graph_fall_back(struct has_graph_turn *turn, struct has_lane *lane);

/* A lane's stream is going away, perhaps with launches in flight. */
void has_graph_lane_gone(struct has_lane *lane);

/* What graphs were made of may be gone; waits for a copy that is being made. */
void has_graph_unloading(void);

/* The helper thread's part: at most one executable graph made for the partition in force. */
void has_graph_tick(int partition);

/* Whether graphs are being made. */
bool has_graph_making(void);

/* Whether a graph that is in use would still be launched on SMs outside a partition, but will not be
 * for long; true also when it cannot be told now. */
bool has_graph_behind(int partition);

/* Where a launch runs, if it is on SMs of its own that it will leave; HAS_NOWHERE else. */
int has_graph_elsewhere(const struct has_graph_turn *turn, int partition);

/* The context of them all is gone, and they with it. */
void has_graph_lost(void);
void has_graph_after_fork(void);

#endif
