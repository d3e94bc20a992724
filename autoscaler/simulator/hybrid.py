"""The policy that runs live, with its state, as a scaler of the simulator."""

from __future__ import annotations

from kserve_has.config.policy import PolicySettings
from kserve_has.latency import LatencyModel

from ..policy.decide import decide
from ..policy.observation import Observation
from ..policy.plan import Plan
from ..policy.state import State
from .scenario import Signals


class Hybrid:
    """Holds what the live controller holds: settings, latency model and the policy's state."""

    tick_s = 0.0

    def __init__(self, settings: PolicySettings, latency: LatencyModel) -> None:
        self._settings, self._latency = settings, latency
        self._state = State()

    def decide(self, observation: Observation, signals: Signals) -> Plan:  # noqa: ARG002
        """Return the policy's plan."""
        decision = decide(self._state, observation, self._settings, self._latency)
        self._state = decision.state
        return decision.plan
