"""Short stories of one pool, told as text: what was decided when, and why.

A changed decision shows as a changed line. After a deliberate change run
``GOLDEN_UPDATE=1 python -m pytest tests/golden`` and review the difference.
"""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler.policy.decide import decide
from autoscaler.policy.observation import Observation, Traffic
from autoscaler.policy.plan import Hold, Place, Resize
from autoscaler.policy.state import State
from kserve_has.slo import Slo

from ..property.policy.cluster import is_sound, obey
from ..unit.policy.worlds import SETTINGS, SMALL, TABLE, gpu, gpus, piece, replica, service

FOLDER = Path(__file__).parent / "decisions"
TICK_S = 0.5


class Story:
    """A pool, its services, and the rate of each as a function of time.

    ``slower`` is what requests alone really take, as a multiple of what is predicted.
    """

    def __init__(self, services, rates, pool, seconds, ill=None, slower=None):
        self.services, self.rates, self.pool = services, rates, pool
        self.seconds, self.ill, self.slower = seconds, ill, slower

    def told(self):
        lines = [self._who(s) for s in self.services]
        seen, state, last = Observation(0.0, self.services, self.pool), State(), {}
        for tick in range(int(self.seconds / TICK_S) + 1):
            now = tick * TICK_S
            seen = self._watched(seen, now)
            decision = decide(state, seen, SETTINGS, TABLE)
            state = decision.state
            held = {(s.name, r.name): r.allocation for s in seen.services for r in s.replicas}
            for action in decision.plan.actions:
                line = self._line(action, held)
                # What is held and why is told when the reason changes, not every tick.
                if not isinstance(action, Hold) or last.get(action.service) != line:
                    lines.append(f"{now:7.1f} s  {line}")
                last[action.service] = line if isinstance(action, Hold) else ""
            seen = obey(seen, decision.plan, after_s=TICK_S)
            assert is_sound(seen)
        return "\n".join(lines) + "\n"

    def _watched(self, seen, now):
        services = []
        for own in seen.services:
            rate = self.rates[own.name]
            whole = int(now)
            age = now - whole + 0.5
            seconds = range(whole - 49, whole + 1)
            arrivals = tuple((age + whole - t, float(rate(t))) for t in seconds)
            recent = sum(rps for _, rps in arrivals[-10:]) / 10
            latency_ms = self._latency_ms(own)
            late = float(latency_ms is not None and latency_ms > own.slo.latency_ms)
            told = Traffic(age, arrivals, 0.0, latency_ms, recent, late, latency_ms)
            services.append(replace(own, traffic=told))
        pool = tuple(
            replace(g, healthy=not (self.ill and g.uuid == self.ill[0] and now >= self.ill[1]))
            for g in seen.gpus
        )
        return Observation(now, tuple(services), pool)

    def _latency_ms(self, own):
        held = [r.allocation for r in own.replicas if r.allocation is not None]
        if self.slower is None or not held:
            return None
        sizes = [(piece.sm_partition, piece.quota_percent) for piece in held]
        product = self.pool[0].geometry.product
        predicted = (TABLE.predict(own.served_model, product, own.batch, *size) for size in sizes)
        return self.slower * max(latency.upper_ms for latency in predicted)

    @staticmethod
    def _who(own):
        slo = own.slo
        bound = f"p{slo.percentile} within {slo.latency_ms:g} ms"
        return (
            f"{own.name}: {own.served_model}, {bound}, "
            f"{own.min_replicas} to {own.max_replicas} replicas, priority {own.priority}"
        )

    @staticmethod
    def _line(action, held):
        if isinstance(action, Hold):
            return f"{action.service}  hold  {action.because.reason}"
        if isinstance(action, Place | Resize):
            before = held[action.service, action.replica]
            was = "" if before is None else f"{_piece(before)} -> "
            verb = "place" if isinstance(action, Place) else "resize"
            what = f"{verb} {action.replica} {was}{_piece(action.allocation)}"
            return f"{action.service}  {what}, {action.capacity_rps:.0f}/s  {action.because}"
        going = f" without {', '.join(action.victims)}" if action.victims else ""
        return f"{action.service}  scale to {action.replicas}{going}  {action.because}"


def _piece(allocation):
    return (
        f"{allocation.sm_partition} SM x {allocation.quota_percent} % on {allocation.gpu_uuid}"
        f" [{allocation.sm_groups:#06x}]"
    )


def step(before, after, at_s):
    return lambda t: after if t >= at_s else before


def pulse(low, high, start_s, end_s):
    return lambda t: high if start_s <= t < end_s else low


def one(**fields):
    return service("shop/web", [replica("a", piece(0b1, 100))], slo=Slo(20.0, 99), **fields)


def full():
    """Return two services of two priorities on one small GPU."""
    return (
        service(
            "shop/gold",
            [replica("g", piece(0b1, 100, geometry=SMALL))],
            priority=900,
            max_replicas=1,
            slo=Slo(20.0, 99),
        ),
        service(
            "shop/tin",
            [replica("t", piece(0b10, 100, geometry=SMALL))],
            priority=1,
            max_replicas=1,
            slo=Slo(20.0, 99),
        ),
    )


STORIES = {
    "surge": Story((one(),), {"shop/web": pulse(12, 300, 20, 80)}, gpus(2), 200),
    "climb": Story((one(),), {"shop/web": lambda t: max(5, min(600, 6 * t))}, gpus(2), 150),
    "idle": Story((one(min_replicas=0),), {"shop/web": pulse(8, 0, 20, 500)}, gpus(1), 520),
    "full": Story(
        full(),
        {"shop/gold": pulse(5, 140, 30, 90), "shop/tin": step(20, 110, 10)},
        (gpu("GPU-0", SMALL),),
        160,
    ),
    "slow": Story(
        (service("shop/web", [replica("a", piece(0b11, 100))], slo=Slo(6.0, 95), max_replicas=1),),
        {"shop/web": lambda t: 3},
        gpus(1),
        1200,
        slower=1.25,
    ),
    "ill-gpu": Story((one(),), {"shop/web": lambda t: 30}, gpus(2), 40, ill=("GPU-0", 10.0)),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_story_is_told_as_before(name):
    told = STORIES[name].told()
    path = FOLDER / f"{name}.txt"
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(told, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == told
