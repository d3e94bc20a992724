"""The page's tables, put between their marks: what must be, other ways, where time went."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.quota_cells import figure
from benchmarks.gpu.quota_musts import MODES, Report, card_and_run, page_table

BEGIN, END = "<!-- written by quota_pages.py -->", "<!-- end -->"
BEGIN_LOST = "<!-- written by quota_pages.py: lost -->"
BEGIN_OTHERS = "<!-- written by quota_pages.py: others -->"
BEGIN_VICTIMS = "<!-- written by quota_pages.py: victims -->"
OTHERS = {
    "two pods": "our leases, MPS",
    "two pods without MPS": "our turns, no MPS",
    "plain time slicing": "plain time slicing",
    "MPS percentage": "MPS percentage",
    "HAMi-core shares": "HAMi-core, limits",
    "HAMi-core shares 10/90": "HAMi-core, limits",
    "HAMi-core shares 30/70": "HAMi-core, limits",
    "HAMi-core shares 50/50": "HAMi-core, limits",
}


def others_table(report: Report) -> str:
    """Return what two processes got under our library and under others, at the same ratios."""
    lines = ["| | wanted | got | error over all, points | card, run |", "|---|---|---|---|---|"]
    for begin, label in OTHERS.items():
        for name in (f"{begin} graph", f"{begin} eager", begin):
            rows = report.get(name, [])
            rows = rows if isinstance(rows, list) else [rows]
            if name == "HAMi-core shares" and f"{name} 30/70" in report:
                continue
            for row in rows if all("granted" in row for row in rows) else []:
                wanted = " / ".join(f"{100 * g:.0f}" for g in row["granted"])
                got = " / ".join(f"{100 * g:.1f}" for g in row["got"])
                where = card_and_run(report, name)
                error = figure(row["error_all_points"], 1)
                lines.append(f"| {label}, {row['mode']} | {wanted} | {got} | {error} | {where} |")
    return "\n".join(lines)


def _stolen(row: dict[str, Any]) -> str:
    """Return the share of a row for which the host took a launching thread's core, in percent."""
    taken = [one["stolen_s"] for one in row.get("host", []) if "stolen_s" in one]
    return figure(100 * max(taken) / len(row["each_second"][0]), 1) if taken else "-"


def lost_table(report: Report) -> str:
    """Return where the time of two pods went that neither got, in percent of it."""
    head = "| | granted | got | idle at hand-overs | idle in turns | at once | hand-overs a second "
    head += "| gap, us: p50, p95, most | core stolen | run |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|---|"]
    for name in [n for mode in MODES for n in report if n.startswith(f"two pods {mode}")]:
        for row in report[name]:
            if not (lost := row.get("where time went")):
                continue
            over = lost["hand_over_us"]
            cells = [
                name.removeprefix("two pods "),
                " / ".join(f"{100 * g:.0f}" for g in row["granted"]),
                " / ".join(figure(100 * g) for g in row["got"]),
                figure(lost["idle_at_hand_overs"]),
                figure(lost["idle_in_turns"]),
                figure(lost["both_at_once"]),
                figure(lost["hand_overs_per_s"], 0),
                ", ".join(figure(over[place], 0) for place in ("p50", "p95", "max")),
                _stolen(row),
                str(report.get("from", {}).get(name, "?")),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def victims_table(report: Report) -> str:
    """Return a victim's p99 beside each aggressor, by the GPU's stamps where there are any."""
    head = "| | beside arithmetic | beside matrix products | beside copies of 1 GiB | card, run |"
    lines = [head, "|---|---|---|---|---|"]
    for name in (f"victim {mode}" for mode in MODES):
        rows = report.get(name, [])
        for row in rows if isinstance(rows, list) else []:
            cells = []
            for aggressor in ("quiet", "gemm", "copy"):
                more = row[aggressor].get("gpu_p99_more_percent")
                more = more or row[aggressor]["p99_more_percent"]
                change = f"{more['median']:+.0f} %"
                cells.append(
                    f"{figure(more['quiet_p99_ms'])} -> {figure(more['busy_p99_ms'])} ({change})"
                )
            who = f"{row['work']}, {row['mode']}, batch {row.get('batch', 8)}"
            lines.append(f"| {who} | {' | '.join(cells)} | {card_and_run(report, name)} |")
    return "\n".join(lines)


def put_into(page: str, report: Report) -> str:
    """Return the page with its tables written anew between their marks."""
    tables = {
        BEGIN: page_table,
        BEGIN_OTHERS: others_table,
        BEGIN_LOST: lost_table,
        BEGIN_VICTIMS: victims_table,
    }
    for begin, table in tables.items():
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(END)
        page = f"{before}{begin}\n\n{table(report)}\n\n{END}{after}" if rest else page
    return page
