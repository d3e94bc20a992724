"""``kserve-has-model-server``: serve one model by KServe's protocols."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ..errors import HasError
from .network import EmulatedNetwork, Network
from .sequence import known_models

ENV_BIND_ADDRESS = "KSERVE_HAS_BIND_ADDRESS"  # a pod IP where pods share one network namespace


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog="kserve-has-model-server", description=__doc__)
    parser.add_argument("--model", required=True, help=f"one of {', '.join(known_models())}")
    parser.add_argument("--name", help="name in the URL /v1/models/NAME:predict (default: --model)")
    parser.add_argument("--http-port", type=int, default=8080, help="default %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="instances of a usual request")
    parser.add_argument("--concurrency", type=int, default=1, help="requests on the GPU at once")
    parser.add_argument(
        "--device",
        choices=("auto", "emulated", "torch"),
        default="auto",
        help="what runs the network; auto is emulated where the node emulates its GPUs",
    )
    return parser


def make_network(device: str, model: str, batch: int, concurrency: int) -> Network:
    """Return the network for a device; torch is imported only here."""
    emulated = device == "emulated" or (
        device == "auto" and "KSERVE_HAS_EMULATED_GPUS" in os.environ
    )
    if emulated:
        return EmulatedNetwork(model, batch=batch, concurrency=concurrency)
    from .torch_network import TorchNetwork

    return TorchNetwork(model, batch=batch, concurrency=concurrency)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; 1 when the network cannot be brought up."""
    args = build_parser().parse_args(argv)
    try:
        network = make_network(args.device, args.model, args.batch, args.concurrency)
    except HasError as error:
        print(f"kserve-has-model-server: {error}", file=sys.stderr)
        return 1
    sys.argv = sys.argv[:1]  # KServe reads the command line when it is imported
    from .server import BoundModelServer, LabellingModel

    model = LabellingModel(args.name or args.model, network, args.concurrency)
    host = os.environ.get(ENV_BIND_ADDRESS, "0.0.0.0")
    BoundModelServer(host, args.http_port).start([model])
    return 0


if __name__ == "__main__":
    sys.exit(main())
