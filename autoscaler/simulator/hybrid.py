"""The policy that runs live, with its state, as a scaler of the simulator."""

from __future__ import annotations

from collections.abc import Mapping

from kserve_has.config.controller import ControllerSettings
from kserve_has.config.policy import PolicySettings
from kserve_has.latency import LatencyModel
from kserve_has.rapp.online import Learner

from ..observations import Mark, Meter, Owner, look
from ..policy.decide import decide
from ..policy.handover import handed_over
from ..policy.observation import Observation
from ..policy.plan import Plan
from ..policy.state import State
from .scenario import Signals


class Hybrid:
    """Holds what the live controller holds: settings, latency model and the policy's state."""

    tick_s = 0.0
    look_s = 0.0

    def __init__(self, settings: PolicySettings, latency: LatencyModel) -> None:
        self._settings, self._latency = settings, latency
        self._state = State()

    def decide(self, observation: Observation, signals: Signals) -> Plan:  # noqa: ARG002
        """Return the policy's plan."""
        decision = decide(self._state, observation, self._settings, self._latency)
        self._state = decision.state
        return decision.plan

    def look(self, observation: Observation, meters: Mapping[Owner, Meter]) -> None:
        """Learn nothing."""


class LearningHybrid(Hybrid):
    """The same with a latency model that learns from what runs, as the live controller does."""

    def __init__(self, settings: PolicySettings, learner: Learner) -> None:
        super().__init__(settings, learner.model)
        self._learner = learner
        self._feedback = ControllerSettings()
        self._marks: Mapping[Owner, Mark] = {}
        self.look_s = self._feedback.observe_every_s

    def decide(self, observation: Observation, signals: Signals) -> Plan:
        """Learn a little and return the policy's plan."""
        former = self._latency
        if self._learner.step(observation.now_s):
            self._latency = self._learner.model
            self._state = handed_over(
                self._state, observation, self._settings, former, self._latency
            )
        return super().decide(observation, signals)

    def look(self, observation: Observation, meters: Mapping[Owner, Meter]) -> None:
        """Take clean observations."""
        seen = look(self._marks, observation, meters, self._feedback)
        self._marks = seen.marks
        self._learner.put(seen.observed)
