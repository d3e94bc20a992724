"""How well profiles taken on a real GPU predict what was measured but not used.

    python -m benchmarks.rapp_profile_check --profiles docs/results/profiles

Each profile's first points fit the model, the others are predicted; the quota law is compared with
the lone requests under quotas that ``kserve_has/latency/data/h200_quota.csv`` holds.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from kserve_has.latency.duty import alone_mean_ms, stream_mean_ms
from kserve_has.rapp.profiled import from_profiles
from kserve_has.rapp.profiles import Profile, read_folder

USED = (4, 6)


def held_out(profile: Profile, used: int) -> list[float]:
    """Return the relative errors at the points after the first ``used``."""
    model = from_profiles([replace(profile, points=profile.points[:used])])
    errors = []
    for point in profile.points[used:]:
        found = model.predict(profile.model, profile.gpu, point.batch, point.sm, 100)
        errors.append(abs(found.mean_ms / point.p50_ms - 1))
    return errors


def quota_law() -> list[tuple[str, int, float, float]]:
    """Return (rows, count, mean error of the law, mean error of ``g / q``)."""
    source = files("kserve_has.latency") / "data" / "h200_quota.csv"
    with source.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    alone = {
        (r["model"], r["mode"], r["sm"]): float(r["p50_ms"])
        for r in rows
        if (r["quota"], r["repeat"]) == ("100", "0")
    }
    tables = []
    for name, mode, sm in (("graphs", "graph", ""), ("eager, 24 SMs", "eager", "24")):
        law, stream_errors = [], []
        for r in rows:
            key = (r["model"], r["mode"], r["sm"])
            if r["mode"] != mode or (sm and r["sm"] != sm) or r["quota"] == "100":
                continue
            quota, wall = int(r["quota"]), float(r["mean_ms"])
            law.append(abs(alone_mean_ms(alone[key], quota, 50.0) / wall - 1))
            stream_errors.append(abs(stream_mean_ms(alone[key], quota) / wall - 1))
        tables.append((name, len(law), float(np.mean(law)), float(np.mean(stream_errors))))
    return tables


def main() -> None:
    """Print both tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profiles", type=Path, required=True)
    folder = parser.parse_args().profiles
    print("| profile | points used | predicted | MAPE | worst |\n|---|---|---|---|---|")
    for profile in read_folder(folder):
        for used in USED:
            errors = held_out(profile, used)
            if errors:
                way = f"{profile.model} {profile.dtype} {profile.mode}"
                worst = f"{100 * max(errors):.1f} %"
                print(
                    f"| {way} | {used} | {len(errors)} | {100 * np.mean(errors):.1f} % | {worst} |"
                )
    print("\n| lone requests | rows | law, MAPE | g / q, MAPE |\n|---|---|---|---|")
    for name, count, law, stream in quota_law():
        print(f"| {name} | {count} | {100 * law:.1f} % | {100 * stream:.0f} % |")


if __name__ == "__main__":
    main()
