"""Put the results of several runs of ``quota_h200.py`` together: JSON, the matrix, a picture.

Of phases done more than once, the last one counts; the first file may be the result of an earlier
time. The table of the page is written between two marks in it::

    python benchmarks/gpu/quota_pages.py docs/results/quota-h200.json DIR/*.json --out docs/results
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.quota_page import put_into
from benchmarks.gpu.quota_report import Report, markdown, table

TITLE = """# Every row of the quota library's benchmark

Written by `benchmarks/gpu/quota_pages.py` from [quota-h200.json](quota-h200.json); what they say is
in [quota-h200](quota-h200.md). `most_above` and `most_below`: the worst window to each side.

"""
ABOUT = ("command", "began", "seconds", "phase_seconds", "start", "left")
COLUMNS = ("work", "mode", "batch", "sm", "quota", "beside", "per_second", "of_same_sm", "of_whole")
COLORS = ("#1f77b4", "#d62728")


def merged(reports: list[Report]) -> Report:
    """Return one report of several; a phase that failed or was skipped gives way.

    The first may be the result of an earlier merge: its runs keep their numbers.
    """
    runs: list[dict[str, Any]] = []
    result: Report = {"runs": runs, "cards": {}, "from": {}}
    for report in reports:
        earlier = report.get("runs", [])
        runs += earlier or [{key: report.get(key) for key in ABOUT}]
        for name, value in report.items():
            poor = isinstance(value, dict) and ("failed" in value or "skipped" in value)
            if name in (*ABOUT, "runs", "cards", "from") or (poor and name in result):
                continue
            result[name] = value
            if card := report.get("cards", {}).get(name) if earlier else _card(report):
                result["cards"][name] = card
            result["from"][name] = report.get("from", {}).get(name) if earlier else len(runs)
    return result


def _card(report: Report) -> str | None:
    processes = (report.get("start") or {}).get("processes", {})
    return next((str(about["device"]) for about in processes.values()), None)


def write_area(report: Report, path: Path) -> None:
    """Write the matrix of SMs and quotas."""
    with path.open("w", newline="") as file:
        columns = ("phase", "card", *COLUMNS, "clock_mhz")
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for name, rows in report.items():
            for row in rows if name.startswith("area") and isinstance(rows, list) else []:
                shown = {k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()}
                writer.writerow({"phase": name, "card": report["cards"].get(name), **shown})


def draw_shares(report: Report, path: Path) -> None:
    """Draw what two pods got in each second, beside what they were granted."""
    from matplotlib.figure import Figure

    names = [name for name in ("two pods eager", "two pods graph") if report.get(name)]
    figure = Figure(figsize=(11, 2.6 * len(names)), layout="constrained")
    panels: Any = figure.subplots(len(names), 3, sharex=True, sharey=True, squeeze=False)
    for line, name in zip(panels, names, strict=True):
        for panel, row in zip(line, report[name], strict=True):
            for series, granted, color in zip(
                row["each_second"], row["granted"], COLORS, strict=True
            ):
                panel.axhline(100 * granted, color="grey", linewidth=0.6, linestyle="--")
                panel.plot([100 * s for s in series[:-1]], color=color, linewidth=1)
            panel.set_title(f"{name}, {row['granted'][0]:.0%} and {row['granted'][1]:.0%}", size=9)
            panel.set_ylim(0, 100)
    for panel in panels[-1]:
        panel.set_xlabel("s")
    for line in panels:
        line[0].set_ylabel("% of the GPU")
    figure.savefig(path, dpi=90)


def main() -> None:
    """Write what is asked for, and the table to the terminal."""
    parser = argparse.ArgumentParser(description="Put results together")
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="folder for the files")
    args = parser.parse_args()
    report = merged([json.loads(path.read_text()) for path in args.files])
    if args.out:
        (args.out / "quota-h200.json").write_text(json.dumps(report) + "\n")
        write_area(report, args.out / "quota-h200-area.csv")
        draw_shares(report, args.out / "quota-h200-shares.png")
        (args.out / "quota-h200-tables.md").write_text(TITLE + markdown(report))
        page = args.out / "quota-h200.md"
        page.write_text(put_into(page.read_text(), report))
    print(table(report))


if __name__ == "__main__":
    main()
