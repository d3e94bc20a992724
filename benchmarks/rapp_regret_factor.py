"""How should the policy's factor on the demand and a latency model that learns go together?

Three ways beside a learning model, each service beginning with six points and no observation: the
factor is left alone, handed over when the model publishes (as shipped), or held at 1 and above.

    python -m benchmarks.rapp_regret_factor --traces ../shared/data/traces
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from autoscaler.policy.observation import Observation
from autoscaler.policy.plan import Plan
from autoscaler.simulator import contenders
from autoscaler.simulator.contenders import Built, Context
from autoscaler.simulator.hybrid import Hybrid, LearningHybrid
from autoscaler.simulator.scenario import Outcome, Signals
from benchmarks.rapp_prior import BASIS, SOURCE
from benchmarks.rapp_regret_sim import WAYS, Truth, cases, models
from kserve_has.rapp.learn import Assumption, learn
from kserve_has.rapp.online import Learner
from kserve_has.rapp.points import read_table
from kserve_has.rapp.profiled import ProfiledLatency

NETWORKS = ("mobilenet_v2", "vit_b_16", "efficientnet_b4", "convnext_tiny")


class LeftAlone(LearningHybrid):
    """Learns, and leaves the factor as it is."""

    def decide(self, observation: Observation, signals: Signals) -> Plan:
        """Learn a little and return the policy's plan."""
        if self._learner.step(observation.now_s):
            self._latency = self._learner.model
        return Hybrid.decide(self, observation, signals)


def build(way: str, model: ProfiledLatency, context: Context) -> Built:
    """Return one way's scenario, scaler and start."""
    settings = context.settings
    if way == "at least 1":
        settings = replace(settings, feedback_floor=1.0)
    scenario, _, start = contenders.learning(Learner(model))(replace(context, settings=settings))
    kind = LeftAlone if way == "left alone" else LearningHybrid
    return scenario, kind(settings, Learner(model)), start


def main() -> None:
    """Print cost and violations of every way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the traces")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    print("| mode | factor | GPU-s | violations |\n|---|---|---|---|")
    for kind in WAYS:
        dtype, mode, _ = kind
        table = read_table(SOURCE, dtype=dtype, mode=mode)
        assumption = Assumption(least_noise=table.least_noise)
        found: dict[str, list[Outcome]] = defaultdict(list)
        for name in NETWORKS:
            rest = [p for n, p in sorted(table.networks.items()) if n != name]
            prior = learn(rest, BASIS, assumption=assumption)
            model = models(prior, table, kind, name)["6 points"]
            for _, case in cases(kind, name, options.traces):
                for seed in range(options.seeds):
                    truth = Truth(case.points)
                    found["truth"].append(case.run(contenders.POLICIES["hybrid"], truth, seed))
                    for way in ("left alone", "handed over", "at least 1"):
                        made = case.run(lambda c, w=way, m=model: build(w, m, c), model, seed)
                        found[way].append(made)
        for way, of in found.items():
            cost = sum(o.cost_gpu_s for o in of)
            late = sum(o.late + o.failed for o in of) / sum(o.offered for o in of)
            print(f"| {mode} | {way} | {cost:.0f} | {100 * late:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
