"""A comparison as a self-contained page: Pareto plots and tables."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from .compare import Row
from .tables import against, as_markdown, as_text, cells, mean, unique

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em}
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .7em;border-bottom:1px solid #ddd}
td{font-variant-numeric:tabular-nums}th{text-align:left}img{max-width:100%}"""


def write(rows: Sequence[Row], folder: Path, about: str) -> str:
    """Write ``tables.md``, ``pareto-*.png`` and ``report.html``; return the tables as text."""
    whole, paired = cells(rows), against(rows)
    pictures = []
    for trace in unique(row.trace for row in rows):
        picture = pareto([row for row in rows if row.trace == trace], trace)
        (folder / f"pareto-{trace.replace('/', '_')}.png").write_bytes(picture)
        pictures.append((trace, picture))
    text = f"{about}\n\n{as_markdown(whole)}\n\n{as_markdown(paired)}\n"
    (folder / "tables.md").write_text(text, encoding="utf-8")
    (folder / "report.html").write_text(_page(about, whole, paired, pictures), encoding="utf-8")
    return f"{as_text(whole)}\n\n{as_text(paired)}"


def pareto(rows: Sequence[Row], title: str) -> bytes:
    """Return a PNG: cost against violations, one colour a policy, one panel an objective."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    objectives = sorted({row.objective for row in rows})
    policies = unique(row.policy for row in rows)
    figure, axes = pyplot.subplots(
        1, len(objectives), figsize=(4.5 * len(objectives), 4), squeeze=False, sharey=True
    )
    for axis, objective in zip(axes[0], objectives, strict=True):
        for index, policy in enumerate(policies):
            own = [r for r in rows if r.policy == policy and r.objective == objective]
            if own:
                x = mean([r.cost_gpu_s for r in own])
                y = max(1e-3, 100 * mean([r.violation_rate for r in own]))
                axis.scatter(x, y, color=f"C{index % 10}", label=policy, s=50)
        axis.set(xscale="log", yscale="log", xlabel="GPU seconds (SM x quota)")
        axis.set_title(f"{title}, objective {objective:g}x")
        axis.grid(visible=True, which="both", alpha=0.25)
    axes[0][0].set_ylabel("violations, % of offered")
    axes[0][-1].legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    pyplot.close(figure)
    return buffer.getvalue()


def _page(
    about: str,
    whole: Sequence[Sequence[str]],
    paired: Sequence[Sequence[str]],
    pictures: Sequence[tuple[str, bytes]],
) -> str:
    parts = [f"<p>{html.escape(about)}</p>"]
    for trace, picture in pictures:
        data = base64.b64encode(picture).decode()
        parts.append(f'<img alt="{html.escape(trace)}" src="data:image/png;base64,{data}">')
    parts += ["<h2>Against the hybrid, paired</h2>", _table(paired)]
    parts += ["<h2>Every cell, means over the seeds</h2>", _table(whole)]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>kserve-has compare</title>'
        f"<style>{_STYLE}</style><h1>Policies compared</h1>{''.join(parts)}</html>"
    )


def _table(table: Sequence[Sequence[str]]) -> str:
    head, *body = table
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in body]
    return f"<table><tr>{top}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
