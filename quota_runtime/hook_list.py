"""The list of hooked driver entry points as a page shows it, made from ``include/has_entries.def``.

``python -m quota_runtime.hook_list`` prints it; a test compares it with the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

LIST: Final = Path(__file__).parent / "include" / "has_entries.def"
KINDS: Final = {
    "LAUNCH": "gated, metered, counted",
    "GRAPH": "gated, metered, counted; priced by the SMs it runs on",
    "COPY": "gated, metered",
    "FILL": "gated, metered",
    "ORDER": "follow the stream to its partition",
    "SYNC": "follow the stream; what is metered on it ends",
    "CAPTURE": "watched: a capturing stream never moves, a graph knows its SMs and can be made anew",
    "CHANGE": "the graph is no longer made anew: the program's own is launched",
    "UNLOAD": "wait for a graph that is being made anew",
    "MEMORY": "charged",
    "STREAM": "watched",
    "CONTEXT": "watched",
    "ROUTE": "answer with the hook of what the driver chose",
    "UNGATED": "counted as ungated",
}
_VARIANTS: Final = {"S": "_ptsz", "P": "_ptsz", "D": "_ptds", "H": ""}
_ENTRY: Final = re.compile(r"^([HPSD])\((\w+),\s*(\w+),", re.MULTILINE)


def entries(text: str) -> list[tuple[str, str, str]]:
    """Return (name, suffix of its per-thread variant or nothing, kind), in the order of the list.

    Raises:
        ValueError: an entry has a kind that `KINDS` does not explain.
    """
    found = [(name, _VARIANTS[macro], kind) for macro, name, kind in _ENTRY.findall(text)]
    unknown = sorted({kind for _, _, kind in found} - set(KINDS))
    if unknown:
        raise ValueError(f"{LIST} has kinds {unknown}, known are {sorted(KINDS)}")
    return found


def table(text: str) -> str:
    """Return a markdown table, one row a kind; a star marks those with a per-thread variant."""
    found = entries(text)
    lines = ["| what the library does | entry points |", "|---|---|"]
    for kind, meaning in KINDS.items():
        names = [f"`{name}`{'*' if variant else ''}" for name, variant, k in found if k == kind]
        if names:
            lines.append(f"| {meaning} | {', '.join(names)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the table."""
    print(table(LIST.read_text()), end="")


if __name__ == "__main__":
    main()
