"""How wrong is the latency table between its measured points?

Leaves out every measured SM count in turn (not the ends of a curve), interpolates it from its
neighbours and reports the error, and the factor that bounds 95 % of the left-out points.
"""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np

from kserve_has.latency.table import LatencyTable, read_points


def left_out_ratios(dtype: str, mode: str) -> list[float]:
    """Return measured / interpolated for every left-out point."""
    source = files("kserve_has.latency") / "data" / "h200_latency.csv"
    with source.open(encoding="utf-8") as stream:
        points = read_points(csv.DictReader(stream), dtype=dtype, mode=mode)
    ratios = []
    for model, by_batch in points.items():
        for batch, by_sm in by_batch.items():
            for sm in sorted(by_sm)[1:-1]:
                rest = {s: t for s, t in by_sm.items() if s != sm}
                table = LatencyTable({(model, "H200"): {batch: rest}})
                ratios.append(by_sm[sm] / table.gpu_ms(model, "H200", batch, sm))
    return ratios


def main() -> None:
    """Print one line per execution mode."""
    print("dtype mode  points  MAPE    p95 factor  max factor")
    for dtype, mode in (("fp32", "eager"), ("fp32", "graph"), ("bf16", "eager"), ("bf16", "graph")):
        ratios = np.array(left_out_ratios(dtype, mode))
        if ratios.size:
            mape = float(np.mean(np.abs(1 / ratios - 1))) * 100
            p95, top = np.quantile(ratios, 0.95), ratios.max()
            print(f"{dtype}  {mode} {ratios.size:6d}  {mape:4.2f} %  {p95:10.3f}  {top:10.3f}")


if __name__ == "__main__":
    main()
