"""What runs teaches the latency model: counters in, a corrected model out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

from kserve_has.config.controller import ControllerSettings
from kserve_has.latency import LatencyModel
from kserve_has.rapp.online import Learner
from kserve_has.rapp.profiled import ProfiledLatency

from ..observations import Mark, Owner, Seen, look
from .meters import OBSERVED, counters_query, meters_of, observed_before
from .observation_metrics import ObservationMetrics
from .observe import World

_PAST_STEP_S: Final = 30
_PAST_TRIES: Final = 3  # then it is learnt from scratch


class Counters(Protocol):
    """Answers queries; see :class:`.prometheus.TrafficReader`."""

    async def rows(self, query: str) -> list[Mapping[str, Any]]:
        """Return the rows of an instant query."""
        ...

    async def past(self, query: str, now: float, span_s: float, step_s: float) -> list[Any]:
        """Return the rows of a range query that ends now."""
        ...


class Feedback:
    """The latency model decisions rest on, corrected while this process leads.

    A model that is not made of profiles stays as it is. Nothing is kept but what Prometheus holds:
    a new term begins with the profiles and learns the last hour's observations anew.
    """

    def __init__(
        self,
        latency: LatencyModel,
        counters: Counters,
        metrics: ObservationMetrics,
        settings: ControllerSettings,
    ) -> None:
        self._latency, self._counters = latency, counters
        self._metrics, self._settings = metrics, settings
        self._learner: Learner | None = None
        self._marks: Mapping[Owner, Mark] = {}
        self._past_tries = 0

    @property
    def model(self) -> LatencyModel:
        """The model as corrected so far."""
        return self._latency if self._learner is None else self._learner.model

    def step(self, now_s: float) -> bool:
        """Learn a little; return whether the model is another one now."""
        if self._learner is None and isinstance(self._latency, ProfiledLatency):
            self._learner = Learner(self._latency)
        return self._learner is not None and self._learner.step(now_s)

    def end(self) -> None:
        """Forget all: somebody else leads, and learns."""
        if self._learner is not None:
            self._learner, self._marks, self._past_tries = None, {}, 0
            self._metrics.forget()

    async def look(self, world: World, now: float) -> None:
        """Take in what the counters say ``now``, by the wall clock.

        Raises:
            ClusterError: Prometheus did not answer or refused.

        """
        learner = self._learner
        if learner is None:
            return
        span_s = self._settings.observe_relearn_s
        if span_s and self._past_tries < _PAST_TRIES:
            self._past_tries += 1
            rows = await self._counters.past(OBSERVED, now, span_s, _PAST_STEP_S)
            if learner is not self._learner:
                return  # the term ended meanwhile; the next one has its own tries
            learner.recall(observed_before(rows))
            self._past_tries = _PAST_TRIES
        rows = await self._counters.rows(counters_query())
        # A thousand services take fifty milliseconds, for which no tick should have to wait.
        seen = await asyncio.to_thread(_seen, self._marks, rows, world, now, self._settings)
        if learner is not self._learner:
            return  # the term ended meanwhile
        self._marks = seen.marks
        learner.put(seen.observed)
        self._metrics.looked(seen, learner)


def _seen(
    marks: Mapping[Owner, Mark],
    rows: list[Mapping[str, Any]],
    world: World,
    now: float,
    settings: ControllerSettings,
) -> Seen:
    """Return what the rows of the counters bring; touches nothing that anybody changes."""
    return look(marks, world.observation, meters_of(rows, world, now), settings)
