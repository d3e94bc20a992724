"""Learning from what runs: observations go in one by one, a corrected model comes out now and then.

Every observation corrects the network it is about (:meth:`FittedNetwork.observed`), at most one of
a network a step. The autoscaler remembers thousands of answers by the model's identity, so what was
learnt is published only where it changes an answer, and one network at a time.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from .network import FittedNetwork
from .profiled import ProfiledLatency, impossible

Place = tuple[str, str]  # (served model, GPU product)

QUEUED: Final = 200  # observations of one network that may wait; older ones are dropped
STEPS: Final = 10  # observations a step, over all networks: three milliseconds
RECENT: Final = 200  # observations by which the coverage is told
CHANGE: Final = 0.01  # of an answer, that is worth publishing
AGAIN_S: Final = 30.0  # between two publications of a network that only got surer
STRANGE: Final = 3.0  # factor by which an observation cannot be of the profiled model
FAR: Final = 3.0  # times the bound's distance from the mean
ASTRAY: Final = 3  # observations in a row so far off: the network, driver or clocks are others now
DOUBT: Final = 0.05  # of the prior's covariance, that is added then


@dataclass(frozen=True, slots=True)
class Observed:
    """GPU time of one request, as a mean over an interval of production.

    Attributes:
        served_model, gpu_product: what ran where.
        batch: instances in a request.
        sm: SMs of the partition.
        gpu_ms: GPU time of one request, milliseconds.

    """

    served_model: str
    gpu_product: str
    batch: int
    sm: int
    gpu_ms: float

    @property
    def place(self) -> Place:
        """The network it is about."""
        return self.served_model, self.gpu_product


@dataclass(frozen=True, slots=True)
class Standing:
    """How well a network's bound has done.

    Attributes:
        observed: observations learnt from.
        strange: observations that were refused because they are far from every prediction.
        coverage: share of the recent ones that lay below the bound before it was moved by them.
        width: bound over mean, where the newest observation was made.

    """

    observed: int
    strange: int
    coverage: float
    width: float


@dataclass(slots=True)
class _Lesson:
    network: FittedNetwork
    past: deque[Observed] = field(default_factory=lambda: deque(maxlen=QUEUED))
    waiting: deque[Observed] = field(default_factory=lambda: deque(maxlen=QUEUED))
    covered: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT))
    observed: int = 0
    strange: int = 0
    astray: int = 0
    width: float = 1.0
    published_s: float = -math.inf
    worth: float = 0.0
    urgent: bool = False

    def backlog(self) -> int:
        return len(self.past) + len(self.waiting)


class Learner:
    """The networks as learnt so far, and the model that is published.

    Attributes:
        model: what the autoscaler decides by; replaced, never changed.

    """

    def __init__(self, model: ProfiledLatency) -> None:
        self.model = model
        self._lessons: dict[Place, _Lesson] = {}

    def put(self, observations: Iterable[Observed]) -> None:
        """Queue new observations; one that still waits for its turn gives way to a newer one."""
        for one in observations:
            lesson = self._lesson(one)
            if lesson is not None:
                others = [o for o in lesson.waiting if (o.batch, o.sm) != (one.batch, one.sm)]
                lesson.waiting = deque([*others, one], maxlen=QUEUED)

    def judges(self, one: Observed) -> bool:
        """Return whether the model says anything of what was observed."""
        if not self.model.knows(*one.place):
            return False
        return not impossible(self.model.served(*one.place), one.batch, one.sm, 100)

    def recall(self, observations: Iterable[Observed]) -> None:
        """Queue observations of the past, oldest first; of each network the newest 200 count."""
        for one in observations:
            lesson = self._lesson(one)
            if lesson is not None:
                lesson.past.append(one)

    def step(self, now_s: float) -> bool:
        """Learn a little, and publish one network if that is due; return whether it was."""
        waiting = [each for each in self._lessons.values() if each.backlog()]
        # Those with most to learn first, so that nobody starves.
        for lesson in sorted(waiting, key=lambda each: -each.backlog())[:STEPS]:
            self._learn(lesson, (lesson.past or lesson.waiting).popleft())
        due = [
            (lesson.urgent, lesson.worth, place)
            for place, lesson in self._lessons.items()
            if lesson.urgent or (lesson.worth > CHANGE and now_s - lesson.published_s >= AGAIN_S)
        ]
        if not due:
            return False
        place = max(due)[2]
        lesson = self._lessons[place]
        self.model = self.model.with_network(*place, lesson.network)
        lesson.worth, lesson.urgent, lesson.published_s = 0.0, False, now_s
        return True

    def standings(self) -> Mapping[Place, Standing]:
        """Return how well every network that was observed has done."""
        return {
            place: Standing(
                lesson.observed,
                lesson.strange,
                sum(lesson.covered) / len(lesson.covered) if lesson.covered else math.nan,
                lesson.width,
            )
            for place, lesson in self._lessons.items()
        }

    def _lesson(self, one: Observed) -> _Lesson | None:
        """Return where an observation belongs, None of no profile or of no possible piece."""
        if not self.judges(one):
            return None
        lesson = self._lessons.get(one.place)
        if lesson is None:
            network = self.model.served(*one.place).network
            lesson = self._lessons[one.place] = _Lesson(network)
        return lesson

    def _learn(self, lesson: _Lesson, one: Observed) -> None:
        mean, upper = _at(lesson.network, one)
        if not 1 / STRANGE < one.gpu_ms / mean < STRANGE:
            lesson.strange += 1
            return
        lesson.covered.append(one.gpu_ms <= upper)
        far = abs(math.log(one.gpu_ms / mean)) > FAR * math.log(upper / mean)
        lesson.astray = lesson.astray + 1 if far else 0
        if lesson.astray >= ASTRAY:
            lesson.astray, lesson.network = 0, _doubted(lesson.network)
        lesson.network = lesson.network.observed(one.batch, one.sm, one.gpu_ms)
        lesson.observed += 1
        mean, upper = _at(lesson.network, one)
        lesson.width = upper / mean
        told = self.model.served(*one.place).predict(one.batch, one.sm, 100).upper_ms
        lesson.worth = max(lesson.worth, abs(math.log(upper / told)))
        lesson.urgent = lesson.urgent or (one.gpu_ms > told and upper > told * (1 + CHANGE))


def _doubted(network: FittedNetwork) -> FittedNetwork:
    """Return a network that is less sure of itself.

    One observation far off is taken for an outlier and hardly learnt from; several are the truth.
    """
    covariance = network.belief.covariance + DOUBT * network.prior.covariance
    return replace(network, belief=replace(network.belief, covariance=covariance))


def _at(network: FittedNetwork, one: Observed) -> tuple[float, float]:
    mean, upper, _ = network.surface(np.array([float(one.batch)]), np.array([float(one.sm)]))
    return float(mean[0]), float(upper[0])
