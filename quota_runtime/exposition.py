"""Names and units under which a pod's usage is exposed, by agent and sidecar alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from .accounting import Account

_NS: Final = 1e-9
# counter of the account -> (metric, factor, help)
COUNTERS: Final[Mapping[str, tuple[str, float, str]]] = {
    "launches": ("launches", 1, "Gated kernel launches, graphs included"),
    "ungated_launches": ("ungated_launches", 1, "Launches that no gate saw"),
    "graph_launches": ("graph_launches", 1, "Launches of CUDA graphs"),
    "gpu_time_ns": ("gpu_time_seconds", _NS, "Metered GPU time"),
    "area_sm_ns": ("used_sm_seconds", _NS, "GPU time x SMs of the partition it ran on"),
    "throttled_ns": ("throttled_seconds", _NS, "Host time spent waiting for quota"),
    "overrun_ns": ("overrun_seconds", _NS, "GPU time beyond the budget, carried as debt"),
    "memory_refused": ("memory_refused", 1, "Allocations answered with out-of-memory"),
    "resizes": ("resizes", 1, "SM partition changes made"),
    "faults": ("limit_faults", 1, "Limit blocks that a process could not read"),
    "leases": ("leases", 1, "Turns taken on SMs that others share"),
    "lease_wait_ns": ("lease_wait_seconds", _NS, "Host time with budget, waiting for other pods"),
    "borrowed_ns": ("borrowed_gpu_seconds", _NS, "GPU time beyond the quota that nobody wanted"),
    "lease_faults": ("lease_faults", 1, "Lease files that a process could not use"),
    "partitions": ("partitions", 1, "SM partitions made"),
    "partitions_ahead": ("partitions_ahead", 1, "SM partitions made before they were asked for"),
    "notice_ns": ("limits_notice_seconds", _NS, "From writes of limits until they were read"),
    "make_start_ns": ("partition_start_seconds", _NS, "SM partitions asked for and not begun"),
    "make_split_ns": ("partition_split_seconds", _NS, "Host time spent on splitting the GPU"),
    "make_context_ns": ("partition_context_seconds", _NS, "Host time spent on making partitions"),
    "make_streams_ns": ("partition_streams_seconds", _NS, "Host time spent on their streams"),
}
GAUGES: Final[Mapping[str, tuple[str, float, str]]] = {
    "memory_bytes": ("memory_bytes", 1, "Device memory charged"),
    "memory_peak_bytes": ("memory_peak_bytes", 1, "Most memory one process had charged"),
    "resize_last_ns": ("resize_last_seconds", _NS, "What the last resize cost the launch path"),
    "processes": ("processes", 1, "Processes with a slot in the usage file"),
}
PREFIX: Final = "kserve_has_"


def account_metrics(
    labels: Sequence[str], accounts: Mapping[tuple[str, ...], Account]
) -> Iterator[Metric]:
    """Yield one family per figure of the accounts, which are keyed by their label values."""
    for field, (name, factor, text) in COUNTERS.items():
        counter = CounterMetricFamily(PREFIX + name, text, labels=labels)
        for values, account in accounts.items():
            counter.add_metric(values, account.totals[field] * factor)
        yield counter
    for field, (name, factor, text) in GAUGES.items():
        gauge = GaugeMetricFamily(PREFIX + name, text, labels=labels)
        for values, account in accounts.items():
            gauge.add_metric(values, getattr(account, field) * factor)
        yield gauge
