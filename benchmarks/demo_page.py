"""Make ``docs/results/demo.md`` from runs of the demo.

make demo DEMO_ARGS="--out plain"; make demo DEMO_ARGS="--chaos --out chaos"
python benchmarks/demo_page.py --plain plain --chaos chaos --out docs/results
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

HEAD = """# The demo, measured

Made by `python benchmarks/demo_page.py --plain DIR --chaos DIR --out docs/results` from the
`summary.json` of two runs of `make demo`, the second with `DEMO_ARGS=--chaos`. Real control plane,
KServe controller, Prometheus and Envoy; two nodes of two emulated H200s each, whose kernel times
were measured on a real one.
"""


def main() -> None:
    """Read both summaries and write the page and the two summaries beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plain", type=Path, required=True)
    parser.add_argument("--chaos", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--note", default="", help="a sentence about the machine's other load")
    args = parser.parse_args()
    plain, chaos = (json.loads((d / "summary.json").read_text()) for d in (args.plain, args.chaos))
    lines = [HEAD, _machine(plain, args.note)]
    lines += ["## Undisturbed", _loads(plain), *_services(plain), ""]
    lines += ["## Measured in that run", *_measured(plain["measured"]), ""]
    lines += ["## Autoscaler, webhook, a pod and a node agent killed", *_services(chaos), ""]
    lines += [*_kills(chaos["chaos"]), ""]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "demo.md").write_text("\n".join(lines), encoding="utf-8")
    for name, folder in (("plain", args.plain), ("chaos", args.chaos)):
        shutil.copyfile(folder / "summary.json", args.out / f"demo-{name}.json")


def _machine(summary: dict[str, Any], note: str) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    run = summary["run"]
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return (
        f"Commit {commit}, {run['started_at']}, {run['cpus']} cores of {cpu}, "
        f"{run['seconds']:g} s measured after {run['lead_in_s']:g} s of lead-in. {note}\n"
    )


def _loads(summary: dict[str, Any]) -> str:
    parts = [
        f"{s['service']}: {s['load']['source']} from second {s['load']['from_s']:.0f}, played "
        f"{s['load']['speed']:g} times as fast, rates times {s['load']['factor']:g}, "
        f"mean {s['load']['mean_rps']:.1f}/s"
        for s in summary["services"]
    ]
    return "Load: " + "; ".join(parts) + ".\n"


def _table(head: list[str], rows: list[list[object]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
    ]


def _services(summary: dict[str, Any]) -> list[str]:
    head = ["service", "offered", "answered", "late", "failed", "p50 ms", "p95 ms", "p99 ms"]
    head += ["violations", "GPU-s", "whole-GPU-s", "resizes", "scale-outs", "scale-ins"]
    head += ["cold starts"]
    rows = [
        [
            f"{s['service']} (p{s['objective_percentile']} ≤ {s['objective_ms']:g} ms)",
            *(s[key] for key in ("offered", "answered", "late", "failed")),
            *(f"{s[key]:.1f}" if s[key] else "never" for key in ("p50_ms", "p95_ms", "p99_ms")),
            f"{100 * s['violation_rate']:.2f} %",
            *(f"{s[key]:.1f}" for key in ("gpu_seconds", "whole_gpu_seconds")),
            *(s[key] for key in ("resizes", "scale_outs", "scale_ins", "cold_starts")),
        ]
        for s in summary["services"]
    ]
    return _table(head, rows)


def _measured(measured: dict[str, Any]) -> list[str]:
    spreads = [
        [name, value["p50"], value["p99"], value["count"]]
        for name, value in measured.items()
        if isinstance(value, dict) and "count" in value
    ]
    memory = measured["highest resident memory (MiB)"]
    return [
        *_table(["what", "p50", "p99", "count"], spreads),
        "",
        *_table(["process", "highest resident MiB"], [[n, v] for n, v in memory.items()]),
    ]


def _kills(kills: list[dict[str, Any]]) -> list[str]:
    head = ["killed", "at s", "recovery s", "recovered", "lost", "doubled", "over-committed GPUs"]
    rows = [
        [
            kill["process"],
            f"{kill['at_s']:.0f}",
            ", ".join(f"{name} {s:.1f}" for name, s in kill["recovery_s"].items()),
            "yes" if kill["recovered"] else "no",
            *(kill[key] for key in ("lost_replicas", "duplicate_replicas", "overcommitted_gpus")),
        ]
        for kill in kills
    ]
    about = (
        "Recovery: seconds until the last five-second stretch ended that missed the objective; "
        "0 when none did."
    )
    return [*_table(head, rows), "", about]


if __name__ == "__main__":
    main()
