"""Lets an Envoy that is to end answer what it has begun: a preStop hook, for SIGTERM ends it at once.

`python -m autoscaler.gateway.drain`, in Envoy's own container.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Final
from urllib.request import Request, urlopen

from kserve_has import contract

# Until then clients may still be sent here: endpoints leave a cluster's nodes one by one.
SHORTEST_S: Final = 5.0
# The default request_timeout_s and the shortest; the pod's grace period is longer.
LONGEST_S: Final = 65.0
_POLL_S: Final = 0.2
_ACTIVE: Final = "http.gateway.downstream_rq_active"

Admin = Callable[[str, str], str]


def main(arguments: list[str] | None = None) -> int:
    """Return once nothing is in flight; 1 when requests are left after ``LONGEST_S``."""
    parser = argparse.ArgumentParser(prog="drain", description=__doc__)
    parser.add_argument("--port", type=int, default=contract.GATEWAY_ADMIN_PORT)
    return 0 if drain(admin_of(parser.parse_args(arguments).port)) else 1


def admin_of(port: int) -> Admin:
    """Return a caller of Envoy's admin page: method and path in, body out."""

    def call(method: str, path: str) -> str:
        with urlopen(Request(f"http://127.0.0.1:{port}{path}", method=method), timeout=5) as answer:
            return str(answer.read().decode())

    return call


def drain(
    admin: Admin,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Tell clients to go elsewhere, then wait; return whether all requests were answered.

    New connections are accepted all the while; every answer closes its own.
    """
    admin("POST", "/drain_listeners?graceful&skip_exit")
    began = clock()
    while (passed := clock() - began) < LONGEST_S:
        if passed >= SHORTEST_S and _active(admin) == 0:
            return True
        sleep(_POLL_S)
    return False


def _active(admin: Admin) -> int:
    page = admin("GET", f"/stats?filter=^{_ACTIVE}$")
    return int(page.rpartition(":")[2])


if __name__ == "__main__":
    raise SystemExit(main())
