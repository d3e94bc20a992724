"""``kserve-has``: latency objectives for KServe on pieces of GPUs."""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from .. import errors
from ..demo.command import add_demo
from ..profiler.command import add_profile
from ..rapp.command import add_rapp
from .settings import add_settings
from .status import add_status

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

PLUGINS: Final = "kserve_has.commands"  # entry points: functions add_xxx(subparsers)
EPILOG: Final = """\
examples:
  kserve-has demo --seconds 60            the whole system on this machine, no GPU needed
  kserve-has status -n team-a             what holds which piece of which GPU, and why
exit status: 0 when it worked, 1 when it did not, 2 for a wrong command line, 130 after Ctrl-C
"""


def build_parser(plugins: Iterable[Callable[[Subparsers], None]] = ()) -> argparse.ArgumentParser:
    """Return the command line with our own commands and those of plugins."""
    parser = argparse.ArgumentParser(
        prog="kserve-has",
        description="Latency objectives for KServe on pieces of GPUs: SM partitions, time quotas "
        "and replicas that change while they run.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add_demo(subparsers)
    add_status(subparsers)
    add_settings(subparsers)
    add_profile(subparsers)
    add_rapp(subparsers)
    for add in plugins:
        add(subparsers)
    version = subparsers.add_parser("version", help="print the version")
    version.set_defaults(run=_version)
    return parser


def plugins() -> list[Callable[[Subparsers], None]]:
    """Return what the installed packages add; one that cannot be imported is named and left."""
    found: list[Callable[[Subparsers], None]] = []
    for entry in sorted(importlib.metadata.entry_points(group=PLUGINS), key=lambda e: e.name):
        try:
            found.append(entry.load())
        except (ImportError, AttributeError) as error:
            print(f"kserve-has: no command {entry.name}: {error}", file=sys.stderr)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    args = build_parser(plugins()).parse_args(argv)
    try:
        return int(args.run(args))
    except errors.HasError as error:
        print(f"kserve-has: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _version(_args: argparse.Namespace) -> int:
    print(importlib.metadata.version("kserve-has"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
