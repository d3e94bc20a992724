"""The baselines' settings, each tuned on traces that no comparison uses.

``benchmarks/policy_tune.py`` tries the grids on made-up traces (a wave, steps and bursts) and
prints the cheapest settings with at most one per cent of violations, or the fewest violations.
"""

from __future__ import annotations

from collections.abc import Iterable

from .fast import FastSettings
from .kpa import KpaSettings

# Objective as a multiple of the whole-GPU warm median -> in-flight requests a pod.
_KPA_TARGET = {1.5: 0.1, 2.0: 0.1, 3.0: 0.2, 5.0: 0.2, 10.0: 0.2}
# Objective -> (share of a piece's throughput in use, share of the objective it may take alone).
_FAST = {1.5: (0.1, 0.9), 2.0: (0.1, 0.9), 3.0: (0.2, 0.5), 5.0: (0.2, 0.7), 10.0: (0.2, 0.7)}
# Objective -> factor on HAS-GPU's prediction.
_HAS = {1.5: 8.0, 2.0: 8.0, 3.0: 5.0, 5.0: 5.0, 10.0: 5.0}


def _at_or_below(table: Iterable[float], objective: float) -> float:
    """Return the largest tuned objective that is not looser than the one asked for."""
    tighter = [known for known in table if known <= objective + 1e-9]
    return max(tighter) if tighter else min(_KPA_TARGET)


def kpa_for(objective: float) -> KpaSettings:
    """Return Knative's autoscaler tuned for an objective."""
    target = _KPA_TARGET[_at_or_below(_KPA_TARGET, objective)]
    return KpaSettings(target=target, utilisation=1.0)


def fast_for(objective: float) -> FastSettings:
    """Return the FaST-GShare style tuned for an objective."""
    load, share = _FAST[_at_or_below(_FAST, objective)]
    return FastSettings(load=load, slo_share=share)


def has_headroom_for(objective: float) -> float:
    """Return the headroom of HAS-GPU, its fatal bugs fixed, tuned for an objective."""
    return _HAS[_at_or_below(_HAS, objective)]
