"""How a GPU can be shared on this node, and why. Pure.

A: MPS and green contexts, an SM partition changes while its process runs. B: no MPS, the pods
take turns on the whole GPU and share no fault domain. C: MPS without green contexts, older
drivers: partitions cannot change, so the same area is given as time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from kserve_has.allocation import Allocation
from kserve_has.gpu import GpuGeometry

Name = Literal["A", "B", "C"]

GREEN_CONTEXT_DRIVER: Final = 555
# Before Volta an MPS server merges all clients into one context and runs one kernel of it.
MPS_CAPABILITY: Final = (7, 0)
_WHOLE: Final = 100.0


@dataclass(frozen=True, slots=True)
class MpsState:
    """What is known of the node's MPS control daemon.

    Attributes:
        serving: it answers.
        percentage: its default active thread percentage.
        why_not: why it does not answer, in words.
    """

    serving: bool = False
    percentage: float = _WHOLE
    why_not: str = "the agent was told to do without (--mps=off)"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the choice depends on.

    Attributes:
        driver: version of the driver, such as ``580.65.06``.
        capability: compute capability of the GPU, major and minor.
        mps: the control daemon of the node.
        emulated: the GPU is the one of this project's emulated driver.
    """

    driver: str
    capability: tuple[int, int]
    mps: MpsState
    emulated: bool = False


@dataclass(frozen=True, slots=True)
class Backend:
    """The way of sharing, and the reason in one sentence."""

    name: Name
    reason: str


def choose(facts: Facts) -> Backend:
    """Return the best way of sharing that these facts allow."""
    if facts.emulated:
        return Backend("A", "emulated GPUs run the processes of all pods at once, as under MPS")
    if facts.capability < MPS_CAPABILITY:
        found = "{}.{}".format(*facts.capability)
        return Backend("B", f"compute capability {found} is below 7.0: MPS shares no SMs")
    if not facts.mps.serving:
        return Backend("B", f"no MPS: {facts.mps.why_not}")
    if facts.mps.percentage < _WHOLE:
        return Backend(
            "C",
            f"the MPS daemon limits its clients to {facts.mps.percentage:g} % of the SMs, with "
            "which no green context can be made; start it without a percentage",
        )
    major = driver_major(facts.driver)
    if major < GREEN_CONTEXT_DRIVER:
        return Backend("C", f"driver {facts.driver} is older than {GREEN_CONTEXT_DRIVER}")
    return Backend("A", f"MPS, and driver {facts.driver} has green contexts")


def driver_major(version: str) -> int:
    """Return the first number of a driver's version, 0 when there is none."""
    first = version.split(".", 1)[0]
    return int(first) if first.isdigit() else 0


def of_pod(gpu: Name, exclusive: bool) -> Name:
    """Return how a pod on a GPU is held; one that asked for isolation stays out of MPS."""
    return "B" if exclusive else gpu


def in_time(allocation: Allocation, gpu: GpuGeometry) -> int:
    """Return the permille of the whole GPU's time that is worth an allocation's area.

    Where no partition can be enforced, every pod runs on all SMs: area = SM x time is what is
    promised, so the time shrinks by the share of the SMs.
    """
    area = allocation.quota_percent * 10 * allocation.sm_partition / gpu.sm_count
    return max(1, round(area))


def from_time(permille: int, sm_partition: int, gpu: GpuGeometry) -> int:
    """Return the quota in per cent that was given as this time; inverse of :func:`in_time`."""
    return min(100, max(1, round(permille / 10 * gpu.sm_count / sm_partition)))
