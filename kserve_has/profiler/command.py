"""``kserve-has profile``: measure a served model on this machine's GPU, in under a minute of it."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LatencyModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from ..rapp.profiles import Profile
    from .gpu_timer import GpuTimer

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

BATCHES = (1, 2, 4, 8, 16, 32)
SAME = ("gpu", "driver", "torch")


def add_profile(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "profile",
        help="measure a served model on this machine's GPU for the latency model",
        description="Time a network on partitions of the first GPU, each point where the latency "
        "model learns most, and write FOLDER/MODEL_GPU_DTYPE-MODE.profile.json. An interrupted "
        "run is continued by the same command.",
    )
    parser.add_argument("--model", required=True, help="name in the catalogue, or of --factory")
    parser.add_argument(
        "--factory",
        metavar="MODULE:FUNCTION",
        help="returns (torch module, function from batch size to an input on the GPU)",
    )
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--mode", choices=("eager", "graph"), default="eager")
    parser.add_argument("--out", type=Path, default=Path("profiles"), metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=60.0, help="of GPU time (60)")
    parser.add_argument("--points", type=int, default=8, help="at most (8)")
    parser.add_argument("--spread", type=float, default=0.3, help="(p90-p10)/p50 accepted (0.3)")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise LatencyModelError(
            "profiling needs torch and a GPU: pip install 'kserve-has[torch]'"
        ) from error
    from ..rapp.priors import packaged
    from ..rapp.profiles import write
    from .session import Budget, run

    ways, way = packaged(), f"{args.dtype}-{args.mode}"
    if way not in ways:
        raise LatencyModelError(f"no prior for {way}; known: {', '.join(sorted(ways))}")
    timer = _timer(args)
    profile = _begun(args, timer)
    places = [(b, s) for b in BATCHES for s in timer.partitions.sizes()]
    budget = Budget(seconds=args.seconds, points=args.points, spread=args.spread)

    def keep(so_far: Profile) -> None:
        path = write(so_far, args.out)
        p = so_far.points[-1]
        print(f"batch {p.batch:2d} on {p.sm:3d} SMs: {p.p50_ms:.3f} ms  ({path.name})", flush=True)

    done = run(timer, ways[way].prior, profile, places, budget, keep)
    print(f"{len(done.points)} points, {done.card['gpu_seconds']} s of GPU time")
    return 0


def _timer(args: argparse.Namespace) -> GpuTimer:
    from .gpu_timer import DTYPES, GpuTimer
    from .networks import network

    if args.factory:
        module, inputs = _factory(args.factory)
        return GpuTimer(module, inputs, args.dtype, args.mode)
    known = network(args.model)

    def inputs_of(batch: int) -> torch.Tensor:
        return known.inputs(batch, "cuda", DTYPES[args.dtype])

    return GpuTimer(known.build(), inputs_of, args.dtype, args.mode)


def _factory(text: str) -> tuple[nn.Module, Callable[[int], torch.Tensor]]:
    module, _, function = text.partition(":")
    try:
        made, inputs = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise LatencyModelError(
            f"--factory {text}: expected MODULE:FUNCTION that returns (module, inputs): {error}"
        ) from error
    return made, inputs


def _begun(args: argparse.Namespace, timer: GpuTimer) -> Profile:
    """Return the unfinished profile of the same GPU and software, else an empty one."""
    from ..rapp.profiles import Profile, path_of, read

    command = " ".join(["kserve-has", *sys.argv[1:]])
    card = {**timer.card(), "command": command}
    fresh = Profile(args.model, args.dtype, args.mode, card, ())
    path = path_of(fresh, args.out)
    if not path.is_file():
        return fresh
    found = read(path, unfinished=True)
    changed = [k for k in SAME if found.card[k] != card[k]]
    if found.card.get("complete") or changed:
        print(f"measuring anew: {path} is " + (f"of another {changed[0]}" if changed else "done"))
        return fresh
    return found
