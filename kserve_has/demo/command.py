"""``kserve-has demo``: command line, namespaces, exit status."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ..config.demo import DemoSettings
from ..config.fields import load as load_settings
from ..errors import SettingsError, TraceError
from ..loadgen import trace

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

DEFAULT_OUT = "demo-out"
PLAIN_WIDTH = 200
SAMPLES = Path("manifests") / "samples"


def add_demo(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "demo",
        help="run the whole system on this machine under real load and report; no GPU needed",
        description="Start KServe, its control plane, our components and two emulated GPU nodes as "
        "processes of this machine, serve two models under an open-loop load, show live what is "
        "decided, and write a report. Everything is gone afterwards but the results' folder.",
        epilog="The exit status says whether the stack worked, not whether objectives held.",
    )
    parser.add_argument("--seconds", type=float, help="length of the measured run (default 165)")
    parser.add_argument(
        "--load",
        type=Path,
        metavar="FILE",
        help="CSV with columns t_s,rps offered to every service as it is (default: the Azure LLM "
        "2023 conversation trace, for each service its liveliest span, sped up and scaled)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help=f"results' folder (default {DEFAULT_OUT}/<time>)"
    )
    parser.add_argument(
        "--chaos", action="store_true", help="kill autoscaler, webhook, a pod and an agent mid-run"
    )
    parser.add_argument("--no-live", action="store_true", help="lines instead of a live view")
    parser.add_argument(
        "--samples", type=Path, metavar="DIR", help="InferenceServices to serve (kustomization)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another setting of the demo, such as resnet50_factor=8",
    )
    parser.set_defaults(run=_run)


def settings_of(args: argparse.Namespace) -> DemoSettings:
    """Return the settings of a command line.

    Raises:
        SettingsError: one is unknown, malformed or out of range.

    """
    values: dict[str, object] = {}
    for item in args.set:
        key, _, text = item.partition("=")
        try:
            values[key] = int(text) if text.lstrip("-").isdigit() else float(text)
        except ValueError:
            raise SettingsError(f"--set {item}: write KEY=NUMBER") from None
    if args.seconds is not None:
        values["seconds"] = float(args.seconds)
    return load_settings(DemoSettings, values)


def _run(args: argparse.Namespace) -> int:
    settings = settings_of(args)
    source = trace.bundled() if args.load is None else trace.read(args.load)
    if args.load is not None and not any(source.cut(0.0, settings.seconds).rates_rps):
        raise TraceError(
            f"{args.load}: offers nothing in the first {settings.seconds:g} s; raise --seconds"
        )
    if args.samples is not None and not args.samples.is_dir():
        raise SettingsError(f"--samples {args.samples}: no such folder")
    from ..localstack import namespace, parts
    from ..localstack.progress import shown

    if not namespace.inside():
        namespace.require()
        for number in (signal.SIGTERM, signal.SIGHUP):
            # What nohup ignores stays ignored.
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _interrupt)
        with shown("parts") as report:
            parts.ensure(report)
        return namespace.run([sys.executable, "-P", "-m", "kserve_has.cli", *_again(args)])
    return _inside(args, settings, source)


def _again(args: argparse.Namespace) -> list[str]:
    """Return the command line for the process inside, which must name the same folder."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    out = args.out or Path(DEFAULT_OUT) / stamp
    words = ["demo", "--out", str(out.resolve())]
    words += ["--seconds", str(args.seconds)] if args.seconds is not None else []
    words += ["--load", str(args.load)] if args.load else []
    words += ["--samples", str(args.samples)] if args.samples else []
    words += ["--chaos"] if args.chaos else []
    words += ["--no-live"] if args.no_live else []
    return words + [word for item in args.set for word in ("--set", item)]


def _inside(args: argparse.Namespace, settings: DemoSettings, source: trace.Trace) -> int:
    from rich.console import Console

    from ..localstack.layout import repository
    from ..localstack.progress import shown
    from ..localstack.stack import LocalStack, StackOptions
    from . import results
    from .display import Display
    from .live import final_table
    from .run import Order, Run

    signal.signal(signal.SIGTERM, _like_ctrl_c)
    signal.signal(signal.SIGHUP, _like_ctrl_c)
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    order = Order(
        samples=args.samples or repository() / SAMPLES,
        source=source,
        source_name=str(args.load) if args.load else "Azure LLM 2023 conversations",
        whole=args.load is not None,
        seconds=settings.seconds,
        chaos=args.chaos,
    )
    # Without a terminal nothing wraps: the table is as wide as it must be.
    console = Console() if sys.stdout.isatty() else Console(width=PLAIN_WIDTH)
    started = datetime.now(UTC)
    display = Display(
        console,
        live=console.is_terminal and not args.no_live,
        plain_every_s=settings.plain_every_s,
    )
    with ExitStack() as cleanup:
        with shown("local stack") as report:
            autoscaler = {"policy": settings.policy()}
            options = StackOptions("full", out, autoscaler=autoscaler, report=report)
            stack = cleanup.enter_context(LocalStack.up(options))
        raw = asyncio.run(Run(stack, out, settings).go(order, display))
        with shown("report") as report:
            report("drawing")
            figures = results.write(out, raw, order, settings, started)
    console.print(final_table(figures))
    for problem in raw.problems:
        console.print(f"The stack did not work: {problem}", highlight=False)
    console.print(f"Report: {out / results.REPORT}", soft_wrap=True, highlight=False)
    console.print(str(out), soft_wrap=True, highlight=False)
    return 1 if raw.problems else 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _like_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    # asyncio turns SIGINT into an orderly cancellation.
    os.kill(os.getpid(), signal.SIGINT)
