"""How far a first estimate from operators alone is off, whole families held out. Needs torch.

The constants are learnt without the family, and how much the networks count beside where the
constants start is what is best for the other families. How many constants there are, where they
start and what form the estimate has was chosen on the H200's table, knowing its errors; on the V100 the same form
starts from the H200's constants, times what the two data sheets differ by.

    python -m benchmarks.rapp_zero_points --public ../shared/data/rapp --out docs/results
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.rapp_compare import tables
from benchmarks.rapp_prior import SOURCE
from kserve_has.profiler.networks import Network, network
from kserve_has.rapp.core import Vector
from kserve_has.rapp.hierarchy import Points
from kserve_has.rapp.kernels import Kernels, kernels_of
from kserve_has.rapp.metrics import Answers, report
from kserve_has.rapp.operators import (
    BYTES,
    CONSTANTS,
    PRODUCTS,
    WAYS,
    WHOLE_SMS,
    Workload,
    learn_constants,
    log_ms,
    start,
)
from kserve_has.rapp.points import Table, read_table

LEARNT_FROM = 16
"""Points of a network that the constants are learnt from; more tell little more."""
EVIDENCE = (60.0, 120.0, 240.0, 480.0)
V100_SMS = 80
V100 = "V100 fp32-eager"
# V100 over H200 by their data sheets: fp32 arithmetic an SM, memory, clock.
_ARITHMETIC, _MEMORY, _CLOCK = (15.7 / 80) / (67.0 / 132), 0.9 / 4.8, 1.53 / 1.98


@dataclass(frozen=True)
class Case:
    """A table of latencies, what its networks run, and where the constants start."""

    name: str
    table: Table
    known: Mapping[str, Kernels]
    begin: Vector
    element_bytes: float
    whole_sms: int = WHOLE_SMS

    def work(self, model: str, points: Points) -> Workload:
        """Return what a network runs at points."""
        kernels, size = self.known[model], self.element_bytes
        return Workload.of(kernels, points.batch, points.sm, size, self.whole_sms)


def cases(public: Path | None) -> Iterator[Case]:
    """Yield the H200's two ways of running networks, and the V100's where its table is there."""
    known: dict[str, Kernels] = {}
    for way in reversed(WAYS):
        dtype, mode = way.split("-")
        table = read_table(SOURCE, dtype=dtype, mode=mode)
        known |= {n: kernels(network(n)) for n in table.networks if n not in known}
        yield Case(way, table, known, start(way), BYTES[dtype])
    for name, table in tables(public):
        if name.startswith("V100"):
            whole = {
                n: Points(p.batch, p.sm / 100 * V100_SMS, p.quota, p.log_ms)
                for n, p in table.networks.items()
            }
            traced = {n: kernels(_torchvision(n)) for n in whole}
            yield Case(V100, Table(whole, table.family, ()), traced, _v100(), 4.0, V100_SMS)


def _torchvision(name: str) -> Network:
    def build() -> nn.Module:
        import torchvision

        module: nn.Module = torchvision.models.get_model(name, weights=None)
        return module

    return Network(name, "", 0, build)


def _v100() -> Vector:
    factors = dict.fromkeys((*PRODUCTS, "depthwise"), _ARITHMETIC)
    factors |= {"bandwidth": _MEMORY, "sm_bandwidth": _CLOCK}
    factors |= {name: 1 / _CLOCK for name in CONSTANTS if name.startswith("kernel")}
    return start(WAYS[0]) + np.log([factors.get(name, 1.0) for name in CONSTANTS])


def kernels(known: Network) -> Kernels:
    """Return a catalogue network's kernels without computing anything."""
    return kernels_of(_on_meta(known), known.inputs(1, "meta", torch.float32))


def held_out(case: Case, evidence: float) -> dict[str, Answers]:
    """Return estimates of every network with constants that its family did not teach."""
    table = case.table
    members = Counter(table.family.values())
    rows = {}
    for name, points in table.networks.items():
        some = np.random.default_rng(len(points)).permutation(len(points))[:LEARNT_FROM]
        p = points.take(some)
        rows[name] = (case.work(name, p), p.log_ms, members[table.family[name]] ** -0.5)
    found = {}
    for family in sorted(members):
        others = [r for n, r in rows.items() if table.family[n] != family]
        constants = learn_constants(others, case.begin, evidence)
        for name, p in table.networks.items():
            if table.family[name] == family:
                mean = np.exp(log_ms(constants, case.work(name, p)))
                found[name] = Answers(np.exp(p.log_ms), mean, mean)
    return found


def chosen(
    by_evidence: Mapping[float, Mapping[str, Answers]], family: Mapping[str, str]
) -> tuple[dict[str, Answers], dict[str, float]]:
    """Return each family's estimates with the evidence that is best for all other families."""
    error = {
        evidence: {name: float(a.errors.mean()) for name, a in answers.items()}
        for evidence, answers in by_evidence.items()
    }
    best = {
        one: min(
            error,
            key=lambda e: np.mean([v for n, v in error[e].items() if family[n] != one]),
        )
        for one in sorted(set(family.values()))
    }
    return {name: by_evidence[best[family[name]]][name] for name in family}, best


def same_calls(case: Case) -> dict[str, Any]:
    """Return how well anybody could tell networks of the very same calls apart by their calls.

    At batch 1 on three fifths of the SMs and more: the best single answer for each such group.
    """
    groups: dict[tuple[float, ...], list[str]] = defaultdict(list)
    for name in case.table.networks:
        groups[tuple(case.known[name].calls)].append(name)
    found, errors = [], []
    for names in groups.values():
        if len(names) > 1:
            ms = np.array([_launches_ms(case, n) for n in names])
            errors += [min(np.mean(np.abs(answer / ms - 1)) for answer in ms)] * len(names)
            found.append({n: round(v, 1) for n, v in zip(names, ms.tolist(), strict=True)})
    return {"networks": len(errors), "least error": float(np.mean(errors)), "ms": found}


def _launches_ms(case: Case, name: str) -> float:
    p = case.table.networks[name]
    return float(np.exp(np.median(p.log_ms[(p.batch == 1) & (p.sm >= 0.6 * case.whole_sms)])))


def _on_meta(known: Network) -> nn.Module:
    try:
        with torch.device("meta"):
            return known.build()
    except NotImplementedError:  # RegNets compute their widths with tensors
        return known.build().to("meta")


def main() -> None:
    """Hold every family out in turn and write ``rapp-zero-points.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    results: dict[str, Any] = {
        "command": "python -m benchmarks.rapp_zero_points --public ../shared/data/rapp --out DIR"
    }
    results["date"] = time.strftime("%Y-%m-%d")
    for case in cases(options.public):
        began = time.process_time()
        by_evidence = {evidence: held_out(case, evidence) for evidence in EVIDENCE}
        answers, best = chosen(by_evidence, case.table.family)
        figures = report(answers, case.table.family)
        models = {name: f["mape"] for name, f in figures["models"].items()}
        kept = ("points", "mape", "median", "p95", "mape_of_models", "families")
        results[case.name] = {k: figures[k] for k in kept} | {
            "models": models,
            "evidence": best,
            "mape at evidence": {
                f"{e:g}": report(a, case.table.family)["mape"] for e, a in by_evidence.items()
            },
        }
        if case.name == V100:
            results[case.name]["networks of the same calls"] = same_calls(case)
        print(f"{time.process_time() - began:.0f} s of CPU")
        print(case.name, json.dumps(results[case.name]), flush=True)
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / "rapp-zero-points.json"
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
