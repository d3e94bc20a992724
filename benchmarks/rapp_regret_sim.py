"""What wrong predictions cost in the simulator, before and after production has taught the model.

One service, the same arrivals, noise and policy, run with different latency models: the measured
table itself, and RaPP fitted from a few points of a network that its prior never saw. The physics
are the measured table in every run. Learning runs take their observations from metered GPU time as
the live controller does; the last run begins with what at least 200 of them have taught.

    python -m benchmarks.rapp_regret_sim --traces ../shared/data/traces --out docs/results
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autoscaler.simulator import contenders
from autoscaler.simulator.contenders import Built, Context
from autoscaler.simulator.physics import Measured, Physics, law_of
from autoscaler.simulator.run import simulate
from autoscaler.simulator.scenario import Load, Outcome, Scenario
from autoscaler.simulator.traces import load as load_trace
from benchmarks.rapp_prior import BASIS, SOURCE
from kserve_has.config.policy import PolicySettings
from kserve_has.config.simulator import SimulatorSettings
from kserve_has.gpu import H200
from kserve_has.latency import Latency, LatencyModel
from kserve_has.latency.duty import alone_mean_ms, elapsed_upper_ms
from kserve_has.loadgen.trace import Trace
from kserve_has.rapp.choose import choose, next_point
from kserve_has.rapp.hierarchy import Points, Prior
from kserve_has.rapp.learn import Assumption, learn
from kserve_has.rapp.network import FittedNetwork
from kserve_has.rapp.online import Learner
from kserve_has.rapp.points import Table, read_table
from kserve_has.rapp.priors import packaged
from kserve_has.rapp.profiled import ProfiledLatency, Served
from kserve_has.slo import Slo

NETWORKS = (
    "resnet50",
    "vgg16",
    "densenet121",
    "efficientnet_b4",
    "mobilenet_v2",
    "regnet_y_8gf",
    "convnext_tiny",
    "swin_t",
    "vit_b_16",
    "bert_base_384",
)
WAYS = (("bf16", "graph", 8), ("fp32", "eager", 4))  # with the batch that is served
LOADS = (("twitter_burst_hour_per_s.csv", 2.0), ("azure_llm_2023_conv_per_s.csv", 5.0))
SECONDS, MOST_RPS, SHARE = 800.0, 65.0, 0.3  # of a whole GPU that the mean rate would keep busy
OBSERVATIONS, WINDOW_MS, SERVICE = 200, 50.0, "a/b"
EXACT = SimulatorSettings(truth_spread=0.0)


class Truth:
    """The latency model that is right: what the physics will do, without a bound."""

    def __init__(self, points: tuple[Measured, ...]) -> None:
        self._physics = Physics("", 0, 0, 0.0, points=points)

    def knows(self, *_: str) -> bool:
        """Whatever is asked."""
        return True

    def part(self, *_: str) -> Truth:
        """There is one network only."""
        return self

    def predict(self, *asked: Any) -> Latency:
        """Return the measured time under the quota law."""
        sm, quota = asked[-2:]
        gpu_ms = self._physics.law(sm)[0]
        times = (law(gpu_ms, quota, WINDOW_MS) for law in (alone_mean_ms, elapsed_upper_ms))
        return Latency(*times)


@dataclass(frozen=True)
class Case:
    """One service and its load."""

    network: str
    batch: int
    points: tuple[Measured, ...]
    trace: Trace
    objective: float

    @property
    def whole_ms(self) -> float:
        """Median on the whole GPU."""
        return self.points[-1][1]

    def run(self, build: Callable[[Context], Built], latency: LatencyModel, seed: int) -> Outcome:
        """Return what the service got."""
        slo = Slo(self.objective * self.whole_ms, 95)
        load = Load(SERVICE, self.network, self.batch, slo, self.trace, points=self.points)
        scenario = Scenario((load,), 32, SECONDS, seed, EXACT)
        context = Context(scenario, self.objective, PolicySettings(), latency)
        return simulate(*build(context))[SERVICE]


def measured(dtype: str, mode: str) -> dict[tuple[str, int], tuple[Measured, ...]]:
    """Return the physics of every (network, batch); repeats are one point, their median."""
    found: dict[tuple[str, int], dict[int, list[list[float]]]] = defaultdict(dict)
    with SOURCE.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if (row["dtype"], row["mode"]) == (dtype, mode):
                by_sm = found[row["model"], int(row["batch"])]
                times = [float(row[key]) for key in ("p10_ms", "p50_ms", "p90_ms")]
                by_sm.setdefault(int(row["sm"]), []).append(times)
    return {
        key: tuple((sm, *law_of(*np.median(by_sm[sm], axis=0).tolist())) for sm in sorted(by_sm))
        for key, by_sm in found.items()
    }


def cases(way: tuple[str, str, int], network: str, folder: Path) -> Iterator[tuple[str, Case]]:
    """Yield every load of a network by the trace's name."""
    dtype, mode, batch = way
    points = measured(dtype, mode)[network, batch]
    for name, objective in LOADS:
        trace = load_trace(str(folder / name))[1].cut(0.0, SECONDS)
        rps = min(MOST_RPS, SHARE * 1000.0 / points[-1][1])
        yield name, Case(network, batch, points, trace.scaled(rps / trace.mean_rps()), objective)


def profiles(prior: Prior, points: Points, batch: int) -> dict[str, Points]:
    """Return what would be measured: few points, and two more at the batch that is served."""
    six = choose(prior, points, 6)
    more = list(six)
    for _ in range(2):
        left = np.array([i for i in np.flatnonzero(points.batch == batch) if i not in more])
        rest, design = points.take(left), prior.design(points.take(left))
        at = next_point(prior, prior.posterior(points.take(np.array(more))), rest, design)
        more.append(int(left[at]))
    return {
        "4 points": points.take(choose(prior, points, 4)),
        "6 points": points.take(six),
        "6 points and 2 at its batch": points.take(np.array(more)),
    }


def models(prior: Prior, table: Table, way: tuple[str, str, int], name: str) -> dict[str, Any]:
    """Return the latency models without any observation."""
    dtype, mode, batch = way
    learnt = packaged()[f"{dtype}-{mode}"]
    found = {}
    for what, profile in profiles(prior, table.networks[name], batch).items():
        network = FittedNetwork.fit(prior, profile, learnt.deviations_after(len(profile)))
        place = (name, H200.product)
        found[what] = ProfiledLatency({place: Served(network, H200.sm_count)})
    return found


def outcomes(case: Case, found: dict[str, ProfiledLatency], seed: int) -> dict[str, Any]:
    """Return every run's outcome beside the truth's on the same arrivals."""
    hybrid = contenders.POLICIES["hybrid"]
    truth = Truth(case.points)
    right = case.run(hybrid, truth, seed)
    pairs = {what: (case.run(hybrid, model, seed), right) for what, model in found.items()}
    for what, begin in (("", "6 points"), (" and 2 at its batch", "6 points and 2 at its batch")):
        learner = Learner(found[begin])
        build = contenders.learning(learner)
        pairs[f"while learning, from 6 points{what}"] = case.run(build, learner.model, seed), right
    learner = Learner(found["6 points"])
    round_, seen = 0, 0
    while seen < OBSERVATIONS and round_ < 4:
        case.run(contenders.learning(learner), learner.model, seed + 1000 + round_)
        round_ += 1
        seen = learner.standings()[case.network, H200.product].observed
    after = case.run(contenders.learning(learner), learner.model, seed + 100)
    pairs["after 200 observations"] = after, case.run(hybrid, truth, seed + 100)
    standing = learner.standings()[case.network, H200.product]
    return {"observations": seen, "coverage": standing.coverage, "pairs": pairs}


def row(outcome: Outcome, right: Outcome) -> dict[str, float]:
    """Return the figures of a pair."""
    figures = {
        "cost_gpu_s": outcome.cost_gpu_s,
        "truth_gpu_s": right.cost_gpu_s,
        "violations": outcome.violation_rate,
        "truth_violations": right.violation_rate,
    }
    return {key: float(f"{value:.5g}") for key, value in figures.items()}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return regret over cells: of the sums, with a bootstrap over networks, and the worst ones."""
    networks = sorted({r["network"] for r in rows})
    by = {n: [r for r in rows if r["network"] == n] for n in networks}

    def regret(chosen: list[str]) -> float:
        paid, best = (
            sum(r[k] for n in chosen for r in by[n]) for k in ("cost_gpu_s", "truth_gpu_s")
        )
        return float(paid / best - 1.0)

    draw = np.random.default_rng(1)
    resampled = [regret(list(draw.choice(networks, len(networks)))) for _ in range(2000)]
    ratios = [r["cost_gpu_s"] / r["truth_gpu_s"] - 1.0 for r in rows]
    worst = max(networks, key=lambda n: regret([n]))
    return {
        "cells": len(rows),
        "extra_cost": regret(networks),
        "interval": [float(q) for q in np.quantile(resampled, (0.025, 0.975))],
        "mean_of_cells": float(np.mean(ratios)),
        "worst_network": [worst, regret([worst])],
        "violations": float(np.mean([r["violations"] for r in rows])),
        "truth_violations": float(np.mean([r["truth_violations"] for r in rows])),
        "most_extra_violations": max(r["violations"] - r["truth_violations"] for r in rows),
    }


def main() -> None:
    """Run everything and write ``rapp-regret-sim.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder of the traces")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    began = time.process_time()
    results: dict[str, Any] = {"command": "python -m benchmarks.rapp_regret_sim --traces DIR"}
    results["date"] = time.strftime("%Y-%m-%d")
    for way in WAYS:
        dtype, mode, _ = way
        table = read_table(SOURCE, dtype=dtype, mode=mode)
        assumption = Assumption(least_noise=table.least_noise)
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        seen = []
        for name in options.networks:
            rest = [p for n, p in sorted(table.networks.items()) if n != name]
            found = models(learn(rest, BASIS, assumption=assumption), table, way, name)
            for trace, case in cases(way, name, options.traces):
                for seed in range(options.seeds):
                    cell = outcomes(case, found, seed)
                    seen.append(cell["observations"])
                    for what, pair in cell["pairs"].items():
                        about = {"network": name, "trace": trace, "seed": seed}
                        rows[what].append({**about, **row(*pair)})
            print(dtype, mode, name, f"{time.process_time() - began:.0f} s", flush=True)
        results[f"{dtype} {mode}"] = {
            "observations": [min(seen), float(np.median(seen))],
            **{what: summary(of) for what, of in rows.items()},
            "cells": dict(rows),
        }
    results["cpu_s"] = round(time.process_time() - began)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "rapp-regret-sim.json"
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for way, of in results.items():
        if isinstance(of, dict):
            for what, figures in of.items():
                if what != "cells":
                    print(way, what, json.dumps(figures))


if __name__ == "__main__":
    main()
