"""Which address each pod of a node holds."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from ...errors import StackError


class PodAddresses:
    """The addresses of one pod CIDR; the first is the node's own.

    A freed address is used again as late as possible: a client that still knows it should meet
    nobody rather than another pod.
    """

    def __init__(self, cidr: str) -> None:
        self._network = IPv4Network(cidr)
        self.node = str(self._network[1])
        self._held: dict[str, IPv4Address] = {}
        self._last = self._network[1]

    def take(self, uid: str, wanted: str = "") -> str:
        """Return the address of a pod, ``wanted`` when that is given and free.

        Raises:
            StackError: every address is held.
        """
        if uid in self._held:
            return str(self._held[uid])
        held = set(self._held.values())
        if wanted and IPv4Address(wanted) in self._network and IPv4Address(wanted) not in held:
            self._held[uid] = IPv4Address(wanted)
            return wanted
        count = self._network.num_addresses - 3  # network, node and broadcast
        offset = int(self._last) - int(self._network[1])
        for step in range(count):
            candidate = self._network[2 + (offset + step) % count]
            if candidate not in held:
                self._held[uid] = self._last = candidate
                return str(candidate)
        raise StackError(f"all {count} pod addresses of {self._network} are held")

    def free(self, uid: str) -> None:
        """Let another pod have the address of this one."""
        self._held.pop(uid, None)
