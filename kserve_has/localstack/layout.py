"""Where the local stack's fixed addresses and files are.

Every stack has a network namespace of its own, so ports never collide between stacks.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

from .. import contract
from ..errors import StackError

LOOPBACK: Final = "127.0.0.1"
POD_NETWORK: Final = "10.244.0.0/16"
POD_NETWORK_FIRST: Final = "10.244.0.1"
POD_NETWORK_MASK: Final = "255.255.0.0"
SERVICE_NETWORK: Final = "10.96.0.0/16"
SERVICE_NETWORK_FIRST: Final = "10.96.0.1"

ETCD_PORT: Final = 2379
ETCD_PEER_PORT: Final = 2380
API_PORT: Final = 6443
CONTROLLER_MANAGER_PORT: Final = 10257
SCHEDULER_PORT: Final = 10259
PROMETHEUS_PORT: Final = 9090
KSERVE_WEBHOOK_PORT: Final = 9444
KSERVE_HEALTH_PORT: Final = 9445
KSERVE_METRICS_PORT: Final = 9446

API_URL: Final = f"https://{LOOPBACK}:{API_PORT}"
PROMETHEUS_URL: Final = f"http://{LOOPBACK}:{PROMETHEUS_PORT}"
GATEWAY_URL: Final = f"http://{LOOPBACK}:{contract.GATEWAY_PORT}"


def node_name(index: int) -> str:
    """Return the name of the node with this index, counted from 0."""
    return f"gpu-node-{index}"


def pod_cidr(index: int) -> str:
    """Return the pod addresses of the node with this index, counted from 0."""
    return f"10.244.{index + 1}.0/24"


def node_address(index: int) -> str:
    """Return the address of the node with this index; its pods get the ones after it."""
    return f"10.244.{index + 1}.1"


def repository() -> Path:
    """Return the root of the checkout.

    Raises:
        StackError: the package was installed without its C sources and manifests.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / "manifests").is_dir() or not (root / "quota_runtime").is_dir():
        raise StackError(
            f"the local stack needs the repository's C sources and manifests, which are not at "
            f"{root}; run it from a checkout (pip install -e .)"
        )
    return root


def module_available(name: str) -> bool:
    """Tell whether ``python -m name`` can work, without running anything of it."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False
