/* What every stream-ordered hook does before and after the driver's own function. */
#ifndef HAS_CALL_H
#define HAS_CALL_H

#include "capture.h"
#include "estimate.h"
#include "graph.h"
#include "lane.h"
#include "meter.h"
#include "sm.h"
#include "state.h"

enum has_kind { HAS_LAUNCH, HAS_COPY, HAS_FILL, HAS_GRAPH, HAS_ORDER, HAS_SYNC };

struct has_call {
    CUstream stream; /* for the driver */
    struct has_lane *lane;
    const struct has_view *view; /* NULL: run free */
    bool work;                   /* gated and metered */
    bool inside;                 /* the lane was entered */
    enum has_kind kind;
};

/* `identity` and `blocks` tell launches apart. Needs has_ready() to have been true. */
struct has_call has_enter(enum has_kind kind, const void *identity, uint64_t blocks,
                          CUstream stream, bool per_thread);

/* As enter for a graph, whose work uses its own SMs wherever it is launched; says in `turn` what to
 * launch. `has_graph_leave` comes right after the launch. */
struct has_call has_enter_graph(struct has_graph_turn *turn, CUstream stream, bool per_thread);

/* A stream on the pod's largest partition for a launch that does not fit, ordered after the lane;
 * false when there is none larger. Afterwards `has_widened` orders the lane after that launch and
 * has it paid for the SMs it ran on. */
bool has_widen(const struct has_call *call, CUstream *wide);
void has_widened(const struct has_call *call, CUstream wide);

void has_leave(const struct has_call *call, CUresult result);

#endif
