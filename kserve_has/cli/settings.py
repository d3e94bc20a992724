"""``kserve-has settings``: every setting with default, unit, range and reason."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_settings(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "settings",
        help="print every setting with default, unit, accepted values and reason (Markdown)",
        description="Print the settings reference, docs/reference/settings.md.",
    )
    parser.set_defaults(run=_run)


def _run(_args: argparse.Namespace) -> int:
    from ..config.reference import markdown

    print(markdown(), end="")
    return 0
