"""What would each policy cost at the same violations? Sweeps every policy's own knob.

The hybrid's knob is the share of the allowed violations it plans with, KPA's the in-flight
requests a pod, FaST's the load of a piece, HAS-GPU's the headroom, the static piece's its size.
Writes ``points.csv`` and one plot a trace; prints, for each trace and policy, the least cost with
no more violations than the hybrid at its defaults had.

    python -m benchmarks.policy_pareto --traces FILE... --objective 3 --out DIR
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from autoscaler.simulator import contenders
from autoscaler.simulator.baselines.fast import FastSettings
from autoscaler.simulator.baselines.kpa import KpaSettings
from autoscaler.simulator.baselines.tuned import fast_for
from autoscaler.simulator.contenders import Built, Context
from autoscaler.simulator.physics import Physics
from autoscaler.simulator.run import simulate
from autoscaler.simulator.scenario import Load, Scenario
from autoscaler.simulator.traces import load as load_trace
from kserve_has.config.policy import PolicySettings
from kserve_has.latency.table import load_table
from kserve_has.slo import Slo

DEFAULT = "hybrid at its defaults"
Build = Callable[[Context], Built]


@dataclass(frozen=True)
class Point:
    """One run of one policy with one value of its knob."""

    trace: str
    policy: str
    knob: float
    violation_rate: float
    cost_gpu_s: float


def hybrid(share: float) -> Build:
    """Return the hybrid that plans with another share of the allowed violations."""

    def build(context: Context) -> Built:
        settings = replace(
            context.settings,
            demand_budget=share,
            queueing_budget=share,
            violation_aim=min(1.0, 0.75 * share),
        )
        return contenders.POLICIES["hybrid"](replace(context, settings=settings))

    return build


def knobs(objective: float) -> list[tuple[str, float, Build]]:
    """Return (policy, knob, how to build it)."""
    share = fast_for(objective).slo_share
    found: list[tuple[str, float, Build]] = [(DEFAULT, 0.4, contenders.POLICIES["hybrid"])]
    found += [("hybrid", x, hybrid(x)) for x in (0.02, 0.1, 0.2, 0.7, 1.0)]
    found += [
        ("kpa", x, contenders.kpa(KpaSettings(target=x, utilisation=1.0)))
        for x in (0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
    ]
    found += [
        ("fast", x, contenders.fast(FastSettings(load=x, slo_share=share)))
        for x in (0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 0.6)
    ]
    found += [
        ("has-gpu-fixed", x, contenders.has_gpu(fixed=True, headroom=x))
        for x in (1.0, 2.0, 3.0, 5.0, 8.0, 12.0)
    ]
    found += [("static", x, contenders.static(x)) for x in (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)]
    return found


def swept(argument: str, objective: float, seconds: float, seed: int) -> list[Point]:
    """Return every point of one trace."""
    name, trace = load_trace(argument)
    median_ms = Physics("resnet50", 1, seed, 0.04).median_ms
    load = Load("a/b", "resnet50", 1, Slo(objective * median_ms, 99), trace, max_replicas=128)
    scenario = Scenario((load,), 32, min(trace.end_s, seconds), seed)
    context = Context(scenario, objective, PolicySettings(), load_table())
    points = []
    for policy, knob, build in knobs(objective):
        (outcome,) = simulate(*build(context)).values()
        points.append(Point(name, policy, knob, outcome.violation_rate, outcome.cost_gpu_s))
    return points


def at_equal(points: list[Point]) -> list[str]:
    """Return a table line a policy: its least cost with no more violations than ours."""
    (ours,) = (p for p in points if p.policy == DEFAULT)
    lines = []
    for policy in dict.fromkeys(p.policy for p in points if p.policy != DEFAULT):
        good = [p for p in points if p.policy == policy and p.violation_rate <= ours.violation_rate]
        text = "none reaches it"
        if good:
            least = min(good, key=lambda p: p.cost_gpu_s)
            text = f"{least.cost_gpu_s / ours.cost_gpu_s:.2f} x (knob {least.knob:g})"
        lines.append(
            f"| {ours.trace} | {100 * ours.violation_rate:.3f} | {ours.cost_gpu_s:.0f} "
            f"| {policy} | {text} |"
        )
    return lines


def picture(points: list[Point], path: Path, objective: float) -> None:
    """Write a plot of cost against violations, one line a policy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4.5))
    for policy in dict.fromkeys(p.policy for p in points):
        own = sorted((p for p in points if p.policy == policy), key=lambda p: p.cost_gpu_s)
        x = [p.cost_gpu_s for p in own]
        y = [max(3e-5, p.violation_rate) * 100 for p in own]
        axis.plot(x, y, "*" if policy == DEFAULT else "o-", label=policy, markersize=6)
    axis.set(xscale="log", yscale="log", xlabel="GPU seconds (SM x quota)")
    axis.set_ylabel("violations, % of offered")
    axis.set_title(f"{points[0].trace}, objective {objective:g}x")
    axis.grid(visible=True, which="both", alpha=0.25)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    pyplot.close(figure)


def main() -> None:
    """Sweep all traces."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--traces", nargs="+", required=True)
    parser.add_argument("--objective", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print("| trace | our violations % | our GPU-s | policy | its least cost, ours = 1 |")
    print("|---|---|---|---|---|")
    everything = []
    for argument in args.traces:
        points = swept(argument, args.objective, args.seconds, args.seed)
        everything += points
        picture(points, args.out / f"sweep-{points[0].trace}.png", args.objective)
        print("\n".join(at_equal(points)), flush=True)
    with (args.out / "points.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["trace", "policy", "knob", "violation_rate", "cost_gpu_s"])
        for p in everything:
            rates = f"{p.violation_rate:.6g}", f"{p.cost_gpu_s:.6g}"
            writer.writerow([p.trace, p.policy, f"{p.knob:g}", *rates])


if __name__ == "__main__":
    main()
