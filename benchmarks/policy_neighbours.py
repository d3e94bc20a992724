"""Ten services on four GPUs with mixed objectives: does one that surges harm the others?

Every seed is run twice, without and with the surge of one service (five times its rate for two
minutes), on the same arrivals of all others. A target on the others' violations is judged by the
largest rise among the nine, in points.

    python -m benchmarks.policy_neighbours [--seeds 5] [--policies hybrid ...]
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from autoscaler.simulator import contenders
from autoscaler.simulator.contenders import POLICIES
from autoscaler.simulator.physics import Physics
from autoscaler.simulator.scenario import Load, Outcome, Scenario
from kserve_has.config.policy import PolicySettings
from kserve_has.latency.table import load_table
from kserve_has.loadgen.trace import Trace
from kserve_has.slo import Slo

SERVICES = (
    # model, objective as a multiple of the whole-GPU median, mean requests/s
    ("resnet50", 3.0, 60.0),
    ("bert_base_384", 3.0, 15.0),
    ("mobilenet_v3_large", 2.0, 40.0),
    ("resnet50", 5.0, 80.0),
    ("vit_b_16", 5.0, 30.0),
    ("bert_base_384", 5.0, 20.0),
    ("efficientnet_b0", 3.0, 30.0),
    ("resnet152", 2.0, 10.0),
    ("swin_t", 5.0, 15.0),
    ("resnet50", 10.0, 50.0),
)
SURGING, SURGE, FROM_S, TO_S, SECONDS = 0, 5.0, 200, 320, 600
GPUS = 4


def trace(number: int, rps: float, *, surge: bool) -> Trace:
    """Return a slow wave with noise of a tenth, one service's with the surge."""
    rng = np.random.default_rng([7, number])
    seconds = np.arange(SECONDS)
    rates = rps * (1 + 0.3 * np.sin(2 * math.pi * (seconds / 300.0 + number / 10)))
    rates = rates * np.exp(0.1 * rng.standard_normal(SECONDS))
    if surge:
        rates[FROM_S:TO_S] *= SURGE
    return Trace(tuple(map(float, seconds)), tuple(map(float, rates)), float(SECONDS))


def outcomes(policy: str, seed: int, *, surge: bool) -> dict[str, Outcome]:
    """Return what every service got."""
    loads = []
    for number, (model, objective, rps) in enumerate(SERVICES):
        median_ms = Physics(model, 1, seed * 1009 + number, 0.04).median_ms
        own = trace(number, rps, surge=surge and number == SURGING)
        # One percentile for all; the priorities are equal, so nobody must give way.
        slo = Slo(objective * median_ms, 99)
        loads.append(Load(f"{number}-{model}", model, 1, slo, own, max_replicas=8))
    scenario = Scenario(tuple(loads), GPUS, float(SECONDS), seed)
    context = contenders.Context(scenario, 3.0, PolicySettings(), load_table())
    return contenders.run(policy, context)


def main() -> None:
    """Print the violations of every service with and without the surge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=["hybrid"])
    args = parser.parse_args()
    for policy in args.policies:
        pairs = [
            (outcomes(policy, seed, surge=False), outcomes(policy, seed, surge=True))
            for seed in range(args.seeds)
        ]
        print(f"\n{policy}: violations % without -> with the surge, mean of {args.seeds} seeds\n")
        print("| service | without | with | rise, points | worst seed |\n|---|---|---|---|---|")
        for name in pairs[0][0]:
            before = [100 * quiet[name].violation_rate for quiet, _ in pairs]
            after = [100 * loud[name].violation_rate for _, loud in pairs]
            rise = [b - a for a, b in zip(before, after, strict=True)]
            mark = " (surges)" if name.startswith(f"{SURGING}-") else ""
            print(
                f"| {name}{mark} | {np.mean(before):.3f} | {np.mean(after):.3f} "
                f"| {np.mean(rise):+.3f} | {max(rise):+.3f} |"
            )
        cost = [sum(o.cost_gpu_s for o in loud.values()) / SECONDS for _, loud in pairs]
        print(f"\n{np.mean(cost):.2f} of {GPUS} GPUs held on average with the surge", flush=True)


if __name__ == "__main__":
    main()
