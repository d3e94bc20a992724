"""Is the GPU time that the quota runtime meters what the latency model means?

On the H200, requests under quotas were metered by the library; the same configurations were timed
from call to synchronised, without a quota and in other sessions, which is what profiles hold.

    python -m benchmarks.rapp_metering
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "kserve_has" / "latency" / "data"
KEY = ("model", "dtype", "mode", "batch", "sm")


def rows(name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a packaged table."""
    with (DATA / name).open(encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def main() -> None:
    """Print metered over profiled time for every table and way of running."""
    profiled: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in rows("h200_networks.csv"):
        profiled[tuple(row[key] for key in KEY)].append(float(row["p50_ms"]))
    print(
        "| table | mode | SMs | rows | median | 5th to 95th percentile |\n|---|---|---|---|---|---|"
    )
    for name in ("h200_quota_networks.csv", "h200_quota.csv"):
        found = defaultdict(list)
        for row in rows(name):
            times = profiled.get(tuple(row[key] for key in KEY))
            if times:
                ratio = float(row["metered_ms"]) / float(np.median(times))
                found[row["mode"], int(row["sm"])].append(ratio)
        for (mode, sm), ratios in sorted(found.items()):
            low, middle, high = np.percentile(ratios, (5, 50, 95))
            spread = f"{low:.3f} to {high:.3f}"
            print(f"| {name} | {mode} | {sm} | {len(ratios)} | {middle:.3f} | {spread} |")


if __name__ == "__main__":
    main()
