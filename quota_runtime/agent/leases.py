"""Which lease slot each pod of a GPU has, and whom it may not run beside.

The first half is pure. The second keeps the lease files of a node: made before a pod is told of
its slot, and never needed again while pods run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kserve_has.errors import AgentError

from ..lease_file import LeaseFile
from ..region import LEASE_SLOTS

log = logging.getLogger(__name__)
MOST_PODS: Final = LEASE_SLOTS - 1


@dataclass(frozen=True, slots=True)
class Claim:
    """What one pod occupies of a GPU.

    Attributes:
        groups: bitmap of the SM groups that it has, had until lately, or is about to get.
        slot: the one its limit block names, 0 when it has none yet.
    """

    groups: int
    slot: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """A pod's slot in the lease file of its GPU, and the bitmap of those it conflicts with."""

    slot: int = 0
    conflicts: int = 0


NO_LEASE: Final = Lease()


def leases(claims: Mapping[str, Claim]) -> dict[str, Lease]:
    """Return the lease of each pod; none for anybody when there are more pods than slots.

    A slot is kept for as long as its pod is there, so that a new neighbour disturbs nobody. Where
    slots run out, all pods take turns: some of each would neither exclude nor respect the others.
    """
    if len(claims) > MOST_PODS:
        return dict.fromkeys(claims, NO_LEASE)
    slots: dict[str, int] = {}
    for uid, claim in sorted(claims.items()):
        if 0 < claim.slot < LEASE_SLOTS and claim.slot not in slots.values():
            slots[uid] = claim.slot
    free = iter(sorted(set(range(1, LEASE_SLOTS)) - set(slots.values())))
    for uid in sorted(claims.keys() - slots.keys()):
        slots[uid] = next(free)
    return {
        uid: Lease(
            slots[uid],
            sum(
                1 << slots[other]
                for other, theirs in claims.items()
                if other != uid and theirs.groups & claim.groups
            ),
        )
        for uid, claim in claims.items()
    }


class LeaseFiles:
    """The lease files of a node, one for each GPU whose pods share it under MPS."""

    def __init__(self, folder: Path | None) -> None:
        """Keep them in a folder that pods have as well; None: there are none."""
        self._folder = folder
        self._files: dict[str, LeaseFile] = {}
        self._used: dict[str, frozenset[int]] = {}
        self._told = ""

    def ready(self, gpu_uuid: str) -> bool:
        """Whether pods of this GPU find its file; makes it when it is missing or damaged."""
        if self._folder is None:
            return False
        file = self._files.get(gpu_uuid)
        if file is not None and not file.lost():
            return True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files[gpu_uuid] = LeaseFile(self._folder, gpu_uuid)
        except (AgentError, OSError) as error:
            self._complain(f"pods of {gpu_uuid} take turns without leases: {error}")
            return False
        if file is not None:
            file.close()
        self._used.pop(gpu_uuid, None)
        return True

    def use(self, gpu_uuid: str, slots: Iterable[int]) -> None:
        """Note which slots pods have; what others left in the file is stepped over at once."""
        used = frozenset(slots)
        file = self._files.get(gpu_uuid)
        before = self._used.get(gpu_uuid, frozenset(range(1, LEASE_SLOTS)))
        if file is not None and before - used:
            file.forget(before - used)
        self._used[gpu_uuid] = used

    def _complain(self, words: str) -> None:
        if words != self._told:
            log.warning("%s", words)
        self._told = words
