"""What the agent exposes to Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector

from ..exposition import PREFIX, account_metrics
from .inventory import NodeGpu
from .keeper import Keeper
from .mps.guard import Guard
from .replica import Replica

LABELS: Final = ("namespace", "pod", "service", "gpu_uuid")
_RESIZE_BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

# metric -> (help, value of a replica whose limits are written)
_GAUGES: Final[Mapping[str, tuple[str, Callable[[Replica, int], float]]]] = {
    "sm_partition": ("SMs granted", lambda _, sms: sms),
    "quota_ratio": (
        "Share of each quota window granted",
        lambda r, _: r.written.quota_permille / 1000 if r.written else 0,
    ),
    "memory_limit_bytes": (
        "Device memory granted",
        lambda r, _: r.written.memory_limit_bytes if r.written else 0,
    ),
    "epoch": ("Epoch of the limits written", lambda r, _: r.written.epoch if r.written else 0),
    "pending": ("1 while not every process follows the limits", lambda r, _: float(r.pending)),
    "ungated_launch_ratio": (
        "Share of recent launches that no gate saw",
        lambda r, _: r.ungated.ratio,
    ),
}
# metric -> (help, label of its parts, value or values of a guard)
_MPS_COUNTERS: Final[Mapping[str, tuple[str, str, Callable[[Guard], Mapping[str, float]]]]] = {
    "mps_faults": (
        "Fatal errors under MPS; a daemon or server that died under its clients is one",
        "",
        lambda guard: {"": guard.faults},
    ),
    "mps_starts": ("MPS daemons started", "", lambda guard: {"": guard.daemon.starts}),
    "mps_victims": (
        "Processes found broken by a fault under MPS",
        "outcome",
        lambda guard: dict(guard.victims),
    ),
    "mps_terminations": (
        "MPS clients taken off the GPU before their pod was killed",
        "outcome",
        lambda guard: dict(guard.terminated),
    ),
}


class AgentMetrics(Collector):
    """Figures of all replicas, read when they are scraped."""

    def __init__(
        self, keeper: Keeper, registry: CollectorRegistry, guard: Guard | None = None
    ) -> None:
        self._keeper = keeper
        self._guard = guard
        self._resize = Histogram(
            PREFIX + "agent_resize_seconds",
            "From seeing a changed annotation to its being in force in every process",
            buckets=_RESIZE_BUCKETS,
            registry=registry,
        )
        keeper.on_resize = self._resize.observe
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield one family per figure."""
        replicas = {_labels(r): r for r in self._keeper.replicas.values()}
        yield from account_metrics(LABELS, {key: r.account for key, r in replicas.items()})
        for name, (text, value) in _GAUGES.items():
            gauge = GaugeMetricFamily(PREFIX + name, text, labels=LABELS)
            for key, replica in replicas.items():
                if replica.written is not None:
                    gauge.add_metric(key, value(replica, _sms(replica, self._keeper.gpus)))
            yield gauge
        granted = CounterMetricFamily(
            PREFIX + "granted_sm_seconds", "SMs x quota granted, over time", labels=LABELS
        )
        refused = GaugeMetricFamily(
            PREFIX + "refused", "1 while an allocation is not honoured", labels=(*LABELS, "reason")
        )
        for key, replica in replicas.items():
            granted.add_metric(key, replica.granted_sm_ns * 1e-9)
            if replica.complaint:
                refused.add_metric((*key, replica.complaint), 1)
        yield granted
        yield refused
        yield _gpus(self._keeper.gpus)
        if self._guard is not None:
            yield from _mps(self._guard)


def _gpus(gpus: Mapping[str, NodeGpu]) -> Metric:
    family = GaugeMetricFamily(
        PREFIX + "gpu_healthy",
        "1 while NVML answers for the GPU",
        labels=("gpu_uuid", "product", "backend"),
    )
    for uuid, gpu in sorted(gpus.items()):
        family.add_metric((uuid, gpu.geometry.product, gpu.backend.name), float(gpu.healthy))
    return family


def _mps(guard: Guard) -> Iterator[Metric]:
    up = float(guard.daemon.state.serving)
    yield GaugeMetricFamily(PREFIX + "mps_up", "1 while the MPS daemon answers", value=up)
    for name, (text, part, values) in _MPS_COUNTERS.items():
        family = CounterMetricFamily(PREFIX + name, text, labels=(part,) if part else ())
        for key, value in values(guard).items():
            family.add_metric((key,) if part else (), value)
        yield family


def _labels(replica: Replica) -> tuple[str, ...]:
    identity = replica.identity
    uuid = replica.wanted.allocation.gpu_uuid if replica.wanted else ""
    return identity.namespace, identity.pod, identity.service, uuid


def _sms(replica: Replica, gpus: Mapping[str, NodeGpu]) -> int:
    gpu = gpus.get(replica.written.gpu_uuid) if replica.written else None
    held = replica.held(gpu.geometry) if gpu else None
    return held.sm_partition if held else 0
