"""What a comparison shows as text: means a cell, and paired ratios against the hybrid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .compare import Row
from .statistics import Interval, difference, ratio

OURS = "hybrid"
Key = tuple[str, float, int]  # trace, objective, seed


def unique(values: Iterable[str]) -> list[str]:
    """Return the values once each, in order of first appearance."""
    return list(dict.fromkeys(values))


def mean(values: Sequence[float]) -> float:
    """Return the mean; 0 of nothing."""
    return sum(values) / len(values) if values else 0.0


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Return header and one line per trace, objective and policy: means over the seeds."""
    table = [
        [
            "trace",
            "objective",
            "policy",
            "violations %",
            "GPU-s",
            "with memory",
            "p99 ms",
            "scale out/in",
            "resizes",
            "cold starts",
            "seeds",
        ]
    ]
    groups: dict[tuple[str, float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.trace, row.objective, row.policy), []).append(row)
    for (trace, objective, policy), group in groups.items():
        outs, ins = mean([r.scale_outs for r in group]), mean([r.scale_ins for r in group])
        table.append(
            [
                trace,
                f"{objective:g}x",
                policy,
                f"{100 * mean([r.violation_rate for r in group]):.3f}",
                f"{mean([r.cost_gpu_s for r in group]):.0f}",
                f"{mean([r.cost_with_memory_gpu_s for r in group]):.0f}",
                f"{mean([r.p99_ms for r in group]):.1f}",
                f"{outs:.1f}/{ins:.1f}",
                f"{mean([r.resizes for r in group]):.0f}",
                f"{mean([r.cold_starts for r in group]):.1f}",
                str(len(group)),
            ]
        )
    return table


def against(rows: Sequence[Row]) -> list[list[str]]:
    """Return header and one line per other policy and trace: paired figures against the hybrid.

    A cost ratio above 1 means that the other is dearer; a positive difference of violations that
    it has more of them. Only where it has not fewer is the ratio a win at equal violations.
    """
    table = [["against", "trace", "cost ratio (95 %)", "violations more, points (95 %)", "pairs"]]
    ours = {_key(row): row for row in rows if row.policy == OURS}
    for policy in unique(row.policy for row in rows if row.policy != OURS):
        theirs = [r for r in rows if r.policy == policy and _key(r) in ours]
        traces = unique(r.trace for r in theirs)
        for trace in [*traces, "all"] if len(traces) > 1 else traces:
            pairs = [(ours[_key(r)], r) for r in theirs if trace in (r.trace, "all")]
            cost, more = _paired(pairs)
            table.append([policy, trace, str(cost), str(more), str(len(pairs))])
    return table


def _paired(pairs: Sequence[tuple[Row, Row]]) -> tuple[Interval, Interval]:
    cost = ratio([a.cost_gpu_s for a, _ in pairs], [b.cost_gpu_s for _, b in pairs])
    more = difference(
        [100 * a.violation_rate for a, _ in pairs], [100 * b.violation_rate for _, b in pairs]
    )
    return cost, more


def _key(row: Row) -> Key:
    return row.trace, row.objective, row.seed


def as_text(table: Sequence[Sequence[str]]) -> str:
    """Return a table with aligned columns."""
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = []
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    head, *body = table
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body])
