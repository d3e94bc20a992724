"""What the sidecar brings, waits for and exposes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from kserve_has import contract
from kserve_has.errors import AgentError

from ..accounting import Account
from ..exposition import PREFIX, account_metrics
from ..region import read_limits, read_usage


def install(library: Path, folder: Path) -> Path:
    """Copy the library into the pod's volume, so that it appears there whole.

    Raises:
        AgentError: it cannot be read, or the volume cannot be written.
    """
    target = folder / contract.LIBRARY_FILE
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.copyfile(library, fresh)
        fresh.chmod(0o755)
        # By rename: a process that has the former file mapped must not see it change.
        fresh.rename(target)
    except OSError as error:
        raise AgentError(f"cannot install {library} in {folder}: {error}") from error
    return target


class PodMetrics(Collector):
    """Limits and usage of this pod, read when they are scraped."""

    def __init__(self, folder: Path, registry: CollectorRegistry) -> None:
        self._folder = folder
        self._account = Account()
        registry.register(self)

    def not_ready(self) -> str:
        """Return what the model's container still has to wait for, empty when nothing."""
        if not (self._folder / contract.LIBRARY_FILE).exists():
            return "the preload library is not installed"
        if read_limits(self._folder / contract.LIMITS_FILE) is None:
            return "the node agent has not written valid limits yet"
        return ""

    def collect(self) -> Iterator[Metric]:
        """Yield one family per figure."""
        try:
            self._account.take(read_usage(self._folder / contract.USAGE_FILE))
            readable = 1.0
        except AgentError:
            readable = 0.0
        yield from account_metrics((), {(): self._account})
        yield _gauge("usage_readable", "0 when the usage file is of another release", readable)
        limits = read_limits(self._folder / contract.LIMITS_FILE)
        if limits is None:
            return
        yield _gauge("epoch", "Epoch of the limits", limits.epoch)
        yield _gauge("sm_groups", "Number of SM groups granted", limits.sm_groups.bit_count())
        yield _gauge("quota_ratio", "Share of each quota window", limits.quota_permille / 1000)
        yield _gauge("memory_limit_bytes", "Device memory granted", limits.memory_limit_bytes)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=value)
