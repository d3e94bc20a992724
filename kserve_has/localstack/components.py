"""Our own components, Envoy and the node stand-ins as commands of the stack."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .. import contract
from .layout import LOOPBACK, PROMETHEUS_URL, node_address, node_name, pod_cidr
from .parts import envoy as envoy_binary
from .supervise import Command

WEBHOOK: Final = "webhook"
AUTOSCALER: Final = "autoscaler"
GATEWAY: Final = "gateway"
ENVOY: Final = "envoy"

WEBHOOK_URL: Final = f"https://{LOOPBACK}:{contract.WEBHOOK_PORT}/healthz"
AUTOSCALER_URL: Final = f"http://{LOOPBACK}:{contract.AUTOSCALER_PORT}/healthz"
ENVOY_URL: Final = f"http://{LOOPBACK}:{contract.GATEWAY_ADMIN_PORT}/ready"


@dataclass(frozen=True, slots=True)
class Machine:
    """One node of the stack.

    Attributes:
        name: the Node's name.
        address: its own address; its pods get the next ones of ``pod_cidr``.
        pod_cidr: the addresses of its pods.
        root: what kubelet keeps under /var/lib/kubelet.
        gpus: folder of its emulated GPUs.
        driver: folder of the emulated driver.
        library: the preload library that the sidecar's image carries.
        leases: folder of the lease files of its GPUs; the same for all nodes, as UUIDs differ.
    """

    name: str
    address: str
    pod_cidr: str
    root: Path
    gpus: Path
    driver: Path
    library: Path
    leases: Path

    @property
    def agent(self) -> str:
        """Where the node agent serves its metrics, ``host:port``."""
        return f"{self.address}:{contract.AGENT_PORT}"


def machine(index: int, folder: Path, driver: Path, library: Path) -> Machine:
    """Return the node with this index, counted from 0, whose files lie below ``folder``."""
    name = node_name(index)
    return Machine(
        name=name,
        address=node_address(index),
        pod_cidr=pod_cidr(index),
        root=folder / name / "kubelet",
        gpus=folder / name / "gpus",
        driver=driver,
        library=library,
        leases=leases_of(folder),
    )


def leases_of(folder: Path) -> Path:
    """Return where the nodes whose files lie below ``folder`` keep their lease files."""
    return folder / "leases"


def make_gpus(node: Machine, count: int) -> tuple[str, ...]:
    """Return the command that makes a node's emulated GPUs; same node, same UUIDs."""
    module = "quota_runtime.emulator.make_gpus"
    return (*_python(module), str(node.gpus), "--count", str(count), "--seed", node.name)


def webhook(kubeconfig: Path, leases: Path) -> Command:
    """Return the admission webhook; pods get the nodes' folder of lease files."""
    listen = f"{LOOPBACK}:{contract.WEBHOOK_PORT}"
    return Command(
        WEBHOOK,
        (
            *_python("webhook"),
            *("--kubeconfig", str(kubeconfig), "--listen", listen),
            *("--namespace", contract.NAMESPACE, "--leases", str(leases)),
        ),
    )


def autoscaler(kubeconfig: Path, settings: Path) -> Command:
    """Return the autoscaler with its settings file."""
    return Command(
        AUTOSCALER,
        (
            *_python("autoscaler"),
            *("--kubeconfig", str(kubeconfig)),
            *("--prometheus-url", PROMETHEUS_URL),
            *("--listen", f"{LOOPBACK}:{contract.AUTOSCALER_PORT}"),
            *("--config", str(settings)),
        ),
    )


def gateway(kubeconfig: Path, xds: Path) -> Command:
    """Return the process that writes Envoy's configuration into ``xds``."""
    return Command(
        GATEWAY,
        (*_python("autoscaler.gateway"), "--kubeconfig", str(kubeconfig), "--xds-dir", str(xds)),
    )


def envoy(xds: Path) -> Command:
    """Return Envoy, reading what the gateway wrote."""
    return Command(
        ENVOY,
        (
            envoy_binary(),
            *("-c", str(bootstrap(xds)), "--concurrency", "1"),
            # Hot restart would share memory with the Envoy of another stack.
            *("--disable-hot-restart", "--log-level", "warning"),
        ),
        disposable=True,
    )


def bootstrap(xds: Path) -> Path:
    """Return where the gateway writes Envoy's bootstrap configuration."""
    return xds / "bootstrap.yaml"


def node(which: Machine, kubeconfig: Path) -> Command:
    """Return the stand-in of a node's kubelet; pods find their programs beside this Python."""
    return Command(
        which.name,
        (
            *_python("kserve_has.localstack.node"),
            *("--kubeconfig", str(kubeconfig)),
            *("--node", which.name, "--root", str(which.root), "--pod-cidr", which.pod_cidr),
            *("--emulated-gpus", str(which.gpus), "--driver-dir", str(which.driver)),
            *("--library", str(which.library)),
        ),
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"},
    )


def agent(which: Machine, kubeconfig: Path) -> Command:
    """Return a node's agent, which sees the node's emulated GPUs through the emulated driver."""
    return Command(
        f"agent-{which.name}",
        (
            *_python("quota_runtime.agent"),
            *("--kubeconfig", str(kubeconfig), "--node", which.name),
            *("--kubelet-root", str(which.root), "--listen", which.agent),
            *("--leases", str(which.leases)),
        ),
        env={"LD_LIBRARY_PATH": str(which.driver), contract.ENV_EMULATOR_DIR: str(which.gpus)},
    )


def _python(module: str) -> tuple[str, ...]:
    # -P: the working directory must not shadow a package.
    return (sys.executable, "-P", "-m", module)
