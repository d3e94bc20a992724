"""``kserve-has rapp``: check the latency model on data, list profiles, answer over HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .evaluate import SPLITS, Task, evaluate, write
from .points import read_table

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_rapp(subparsers: Subparsers) -> None:
    """Add the command and what it can do."""
    parser = subparsers.add_parser("rapp", help="the latency model: evaluate, profiles, serve")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_evaluate(actions)
    _add_profiles(actions)
    _add_serve(actions)


def _add_evaluate(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "evaluate",
        help="errors, coverage and inflation on a table of measured points",
        description="Hide points of a CSV (model,batch,sm and p50_ms or latency_ms; quota, "
        "family, dtype, mode where known), predict them and write DIR/metrics.json.",
    )
    parser.add_argument("--points", type=Path, required=True, metavar="CSV")
    parser.add_argument("--split", choices=SPLITS, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--measured", type=int, default=6, metavar="N", help="of a hidden network")
    parser.add_argument("--dtype", help="only rows of this number format")
    parser.add_argument("--mode", help="only rows run this way: eager or graph")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--quota-window-ms",
        type=float,
        metavar="MS",
        help="of the runtime that enforced the table's quotas; its law then tells what they do",
    )
    parser.add_argument(
        "--one-launch",
        action="store_true",
        help="that law is the one of captured graphs, which nothing pauses once they started",
    )
    parser.set_defaults(run=_evaluate)


def _add_profiles(actions: Subparsers) -> None:
    parser = actions.add_parser("profiles", help="list and check the profiles in a folder")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--driver", help="refuse profiles measured under another driver")
    parser.set_defaults(run=_profiles)


def _add_serve(actions: Subparsers) -> None:
    parser = actions.add_parser(
        "serve",
        help="answer POST /v1/predict from the profiles in a folder",
        description='Body: {"configurations": [{"model", "gpu", "batch", "sm", "quota"}, ...]}.',
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8095)
    parser.set_defaults(run=_serve)


def _evaluate(args: argparse.Namespace) -> int:
    table = read_table(args.points, dtype=args.dtype, mode=args.mode)
    task = Task(args.split, args.measured, args.seed, args.quota_window_ms, args.one_launch)
    metrics = evaluate(table, task)
    path = write(metrics, args.out)
    floor = metrics["noise_floor"]
    noise = "unknown" if floor is None else f"{100 * floor:.2f} %"
    print(
        f"{metrics['points']} points, MAPE {100 * metrics['mape']:.2f} %, "
        f"p95 {100 * metrics['p95']:.1f} %, upper bound covers {100 * metrics['coverage']:.1f} % "
        f"at {metrics['inflation']:.2f} times the truth; noise floor {noise}; all in {path}"
    )
    return 0


def _profiles(args: argparse.Namespace) -> int:
    from ..errors import LatencyModelError
    from .profiles import drivers_differ, read_folder

    profiles = read_folder(args.folder)
    differ = drivers_differ(profiles, args.driver) if args.driver else []
    if differ:
        raise LatencyModelError("\n".join(differ))
    for profile in profiles:
        print(
            f"{profile.model}  {profile.gpu}  {profile.dtype} {profile.mode}  "
            f"{len(profile.points)} points  {profile.card['date']}  driver {profile.card['driver']}"
        )
    return 0


def _serve(args: argparse.Namespace) -> int:
    from aiohttp import web

    from .profiled import load_profiles
    from .server import application

    app = application(load_profiles(args.folder))
    web.run_app(app, host=args.host, port=args.port, access_log=None)
    return 0
