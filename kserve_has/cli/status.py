"""``kserve-has status``: services, replicas with their pieces, last decisions."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import contract

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_status(subparsers: Subparsers) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "status",
        help="show services, objectives, replicas with their pieces of GPUs, last decisions",
        description="Show what kserve-has holds and did in a cluster. It only reads. The exit status "
        "is 1 where an objective cannot be read.",
    )
    parser.add_argument(
        "--kubeconfig",
        type=Path,
        help="file with the cluster's credentials (default: KUBECONFIG, then ~/.kube/config, "
        "then the pod's ServiceAccount)",
    )
    parser.add_argument("--namespace", "-n", help="only this namespace (default: all)")
    parser.add_argument(
        "--decisions", type=int, default=10, metavar="N", help="decisions shown (%(default)s)"
    )
    parser.set_defaults(run=_run)


def default_kubeconfig(environment: Mapping[str, str], home: Path) -> Path | None:
    """Return the kubeconfig that kubectl would use, None when there is none."""
    named = environment.get("KUBECONFIG", "").split(":")[0]
    candidate = Path(named) if named else home / ".kube" / "config"
    return candidate if named or candidate.exists() else None


def _run(args: argparse.Namespace) -> int:
    # The Kubernetes client takes a second to import; --help should not wait for it.
    from rich.console import Console

    from . import cluster, tables

    kubeconfig = args.kubeconfig or default_kubeconfig(os.environ, Path.home())
    found = asyncio.run(cluster.read(kubeconfig, args.namespace))
    console = Console()
    if not found.services and not found.unreadable:
        console.print(f"No InferenceService here carries {contract.OBJECTIVE_LATENCY}.")
        return 0
    services = tables.services_table(found.services, found.replicas, found.sm_counts)
    tables.add_unreadable(services, found.unreadable)
    console.print(services)
    console.print(tables.replicas_table(found.replicas))
    if found.decisions and args.decisions > 0:
        console.print(tables.decisions_table(found.decisions, args.decisions))
    return 1 if found.unreadable else 0
