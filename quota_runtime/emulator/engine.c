#include "engine.h"

#include <math.h>
#include <string.h>

#define DONE_WORK 1e-3 /* SM-ns or ns that rounding may leave */
#define WAIT_DEPTH 4   /* queues waiting on queues that a bound looks through */

#define FOR_EACH_ACTIVE(gpu, q)                                                                    \
    for (uint32_t word_ = 0; word_ < EMU_QUEUES / 64; word_++)                                     \
        for (uint64_t bits_ = (gpu)->active[word_]; bits_; bits_ &= bits_ - 1)                     \
            for (uint32_t q = word_ * 64 + (uint32_t)__builtin_ctzll(bits_), once_ = 1; once_;     \
                 once_ = 0)

static const struct emu_op *op_at(const struct emu_gpu *gpu, uint32_t queue, uint64_t seq)
{
    return &gpu->ops[queue][seq % EMU_RING];
}

static double usable_sms(const struct emu_op *op)
{
    double size = sm_set_size(&op->sms);
    return op->cap < size ? op->cap : size;
}

static double shortest_ns(const struct emu_op *op)
{
    if (op->kind == OP_KERNEL)
        return op->work / usable_sms(op);
    return op->kind == OP_DELAY ? op->work : 0;
}

struct emu_op engine_kernel(const struct sm_set *sms, double work_sm_ns, double floor_ns,
                            double max_sm)
{
    double work = work_sm_ns > 1 ? work_sm_ns : 1;
    double cap = max_sm >= 1 ? max_sm : 1;
    if (floor_ns > 0 && work / floor_ns < cap)
        cap = work / floor_ns; /* more SMs would not make it shorter than its floor */
    return (struct emu_op){.sms = *sms, .work = work, .cap = cap, .kind = OP_KERNEL};
}

struct emu_op engine_delay(double ns)
{
    return (struct emu_op){.work = ns > 1 ? ns : 1, .kind = OP_DELAY};
}

static void set_active(struct emu_gpu *gpu, uint32_t queue)
{
    gpu->active[queue / 64] |= 1ull << (queue % 64);
}

bool engine_push(struct emu_gpu *gpu, uint32_t queue, struct emu_op op)
{
    struct emu_queue *q = &gpu->queues[queue];
    if (q->tail - q->head >= EMU_RING)
        return false;
    op.bound_ns = q->bound_ns + (uint64_t)shortest_ns(&op);
    gpu->ops[queue][q->tail % EMU_RING] = op;
    q->bound_ns = op.bound_ns;
    set_active(gpu, queue);
    __atomic_store_n(&q->tail, q->tail + 1, __ATOMIC_RELEASE);
    return true;
}

static void free_queue(struct emu_gpu *gpu, uint32_t queue)
{
    gpu->queues[queue].closing = 0;
    gpu->queues[queue].owner = 0;
}

static void pop(struct emu_gpu *gpu, uint32_t queue)
{
    struct emu_queue *q = &gpu->queues[queue];
    if (q->started)
        gpu->dirty = 1;
    q->started = 0;
    q->rate = 0;
    __atomic_store_n(&q->head, q->head + 1, __ATOMIC_RELEASE);
    if (q->head == q->tail) {
        gpu->active[queue / 64] &= ~(1ull << (queue % 64));
        if (q->closing)
            free_queue(gpu, queue);
    }
}

/* Do what takes no time at the head of a queue. Returns whether the queue moved. */
static bool settle_queue(struct emu_gpu *gpu, uint32_t queue)
{
    struct emu_queue *q = &gpu->queues[queue];
    bool moved = false;
    while (q->head != q->tail) {
        const struct emu_op *op = op_at(gpu, queue, q->head);
        if (q->started || op->submit_ns > gpu->at_ns || op->kind == OP_HOST)
            return moved;
        if (op->kind == OP_KERNEL || op->kind == OP_DELAY) {
            q->left = op->work;
            q->rate = op->kind == OP_DELAY ? 1 : 0;
            q->started = 1;
            gpu->dirty = 1;
            return moved;
        }
        if (op->kind == OP_WAIT && gpu->queues[op->index].head < op->target)
            return moved;
        if (op->kind == OP_EVENT) {
            struct emu_event *event = &gpu->events[op->index];
            event->at_ns = gpu->at_ns;
            __atomic_store_n(&event->done, op->target, __ATOMIC_RELEASE);
            if (event->free_after && op->target >= event->free_after)
                event->owner = 0;
        }
        pop(gpu, queue);
        moved = true;
    }
    return moved;
}

static void settle(struct emu_gpu *gpu)
{
    for (bool moved = true; moved;) {
        moved = false;
        FOR_EACH_ACTIVE(gpu, queue)
            moved |= settle_queue(gpu, queue);
    }
}

/* Which processes have kernels on SMs that kernels of others are on too. */
static void note_sharing(struct emu_gpu *gpu, const struct share_job *jobs, const uint32_t *of,
                         int count)
{
    memset(gpu->sharing, 0, sizeof gpu->sharing);
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++) {
            uint32_t owner = gpu->queues[of[i]].owner, other = gpu->queues[of[j]].owner;
            if (owner && owner != other && sm_set_overlap(&jobs[i].sms, &jobs[j].sms))
                gpu->sharing[(owner - 1) / 64] |= 1ull << (owner - 1) % 64;
        }
}

static void share(struct emu_gpu *gpu)
{
    struct share_job jobs[EMU_QUEUES];
    uint32_t of[EMU_QUEUES];
    int count = 0;
    FOR_EACH_ACTIVE(gpu, queue) {
        const struct emu_queue *q = &gpu->queues[queue];
        const struct emu_op *op = op_at(gpu, queue, q->head);
        if (!q->started || op->kind != OP_KERNEL)
            continue;
        of[count] = queue;
        jobs[count++] = (struct share_job){.sms = op->sms, .cap = usable_sms(op)};
    }
    share_sms(jobs, count);
    for (int i = 0; i < count; i++)
        gpu->queues[of[i]].rate = jobs[i].given;
    note_sharing(gpu, jobs, of, count);
    gpu->dirty = 0;
}

int64_t engine_next(const struct emu_gpu *gpu)
{
    int64_t next = ENGINE_NEVER;
    FOR_EACH_ACTIVE(gpu, queue) {
        const struct emu_queue *q = &gpu->queues[queue];
        int64_t at = ENGINE_NEVER;
        if (q->started && q->rate > 0)
            at = gpu->at_ns + (int64_t)ceil(q->left / q->rate);
        else if (!q->started && op_at(gpu, queue, q->head)->submit_ns > gpu->at_ns)
            at = op_at(gpu, queue, q->head)->submit_ns;
        if (at < next)
            next = at;
    }
    return next;
}

/* Let the running operations work until `to` and take away those that end. */
static void work_until(struct emu_gpu *gpu, int64_t to)
{
    double ns = (double)(to - gpu->at_ns), busy = 0;
    gpu->at_ns = to;
    FOR_EACH_ACTIVE(gpu, queue) {
        struct emu_queue *q = &gpu->queues[queue];
        if (!q->started)
            continue;
        q->left -= q->rate * ns;
        if (op_at(gpu, queue, q->head)->kind == OP_KERNEL) {
            busy += q->rate;
            if (q->owner)
                gpu->processes[q->owner - 1].sm_ns += q->rate * ns;
        }
        if (q->left <= DONE_WORK)
            pop(gpu, queue);
    }
    for (int word = 0; word < EMU_PROCESSES / 64; word++)
        for (uint64_t left = gpu->sharing[word]; left; left &= left - 1)
            gpu->processes[word * 64 + __builtin_ctzll(left)].shared_ns += ns;
    gpu->busy_sm_ns += busy * ns;
    if (busy > 0)
        gpu->busy_ns += (int64_t)ns;
}

bool engine_advance(struct emu_gpu *gpu, int64_t now, int max_steps)
{
    settle(gpu);
    if (gpu->dirty)
        share(gpu);
    for (int step = 0; gpu->at_ns < now; step++) {
        if (step == max_steps)
            return false;
        int64_t next = engine_next(gpu);
        work_until(gpu, next < now ? next : now);
        settle(gpu);
        if (gpu->dirty)
            share(gpu);
    }
    return true;
}

static double bound_ns(const struct emu_gpu *gpu, uint32_t queue, uint64_t target, int depth)
{
    const struct emu_queue *q = &gpu->queues[queue];
    if (q->head >= target || q->head == q->tail || depth == 0)
        return 0;
    const struct emu_op *head = op_at(gpu, queue, q->head);
    const struct emu_op *last = op_at(gpu, queue, (target > q->tail ? q->tail : target) - 1);
    double rest = (double)(last->bound_ns - head->bound_ns);
    if (head->kind == OP_WAIT)
        return rest + bound_ns(gpu, head->index, head->target, depth - 1);
    if (!q->started)
        return rest + shortest_ns(head);
    return rest + (head->kind == OP_DELAY ? q->left : q->left / usable_sms(head));
}

int64_t engine_bound(const struct emu_gpu *gpu, uint32_t queue, uint64_t target)
{
    return gpu->at_ns + (int64_t)bound_ns(gpu, queue, target, WAIT_DEPTH);
}

void engine_host_done(struct emu_gpu *gpu, uint32_t queue)
{
    const struct emu_queue *q = &gpu->queues[queue];
    if (q->head != q->tail && op_at(gpu, queue, q->head)->kind == OP_HOST)
        pop(gpu, queue);
}

int engine_take_queue(struct emu_gpu *gpu, uint32_t process)
{
    for (uint32_t queue = 0; queue < EMU_QUEUES; queue++) {
        struct emu_queue *q = &gpu->queues[queue];
        if (q->owner)
            continue;
        q->closing = 0;
        q->owner = process + 1;
        return (int)queue;
    }
    return -1;
}

void engine_close_event(struct emu_gpu *gpu, uint32_t event, uint64_t last_record)
{
    if (gpu->events[event].done >= last_record)
        gpu->events[event].owner = 0;
    else
        gpu->events[event].free_after = last_record;
}

int engine_take_event(struct emu_gpu *gpu, uint32_t process)
{
    for (uint32_t i = 0; i < EMU_EVENTS; i++) {
        uint32_t index = (gpu->event_hint + i) % EMU_EVENTS;
        if (gpu->events[index].owner)
            continue;
        gpu->events[index].done = 0;
        gpu->events[index].free_after = 0;
        gpu->events[index].owner = process + 1;
        gpu->event_hint = index + 1;
        return (int)index;
    }
    return -1;
}

void engine_close_queue(struct emu_gpu *gpu, uint32_t queue)
{
    struct emu_queue *q = &gpu->queues[queue];
    if (q->head == q->tail)
        free_queue(gpu, queue);
    else
        q->closing = 1;
}

void engine_drop_process(struct emu_gpu *gpu, uint32_t process)
{
    for (uint32_t queue = 0; queue < EMU_QUEUES; queue++) {
        struct emu_queue *q = &gpu->queues[queue];
        if (q->owner != process + 1)
            continue;
        gpu->active[queue / 64] &= ~(1ull << (queue % 64));
        q->started = 0;
        q->rate = 0;
        q->head = q->tail;
        free_queue(gpu, queue);
    }
    for (uint32_t i = 0; i < EMU_EVENTS; i++)
        if (gpu->events[i].owner == process + 1)
            gpu->events[i].owner = 0;
    memset(&gpu->processes[process], 0, sizeof gpu->processes[process]);
    engine_recover(gpu);
}

void engine_recover(struct emu_gpu *gpu)
{
    memset(gpu->active, 0, sizeof gpu->active);
    for (uint32_t queue = 0; queue < EMU_QUEUES; queue++)
        if (gpu->queues[queue].owner && gpu->queues[queue].head != gpu->queues[queue].tail)
            set_active(gpu, queue);
    gpu->memory_used = 0;
    for (int process = 0; process < EMU_PROCESSES; process++)
        gpu->memory_used += gpu->processes[process].memory_bytes;
    gpu->dirty = 1;
}
