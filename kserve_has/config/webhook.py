"""Settings of the webhook: what it puts into pods and how long its certificates live."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import setting


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """What `kserve-has-webhook` injects and how it keeps itself trusted."""

    sidecar_image: str = setting(
        "kserve-has/sidecar:0.1.0",
        why="brings the preload library that fits this release; name your own registry here",
    )
    sidecar_cpu_request: str = setting(
        "10m", unit="quantity", why="it wakes once a second; measured below 3 millicores"
    )
    sidecar_memory_request: str = setting(
        "48Mi", unit="quantity", why="a Python process and the files of the memory volume"
    )
    sidecar_memory_limit: str = setting(
        "128Mi", unit="quantity", why="more than twice what it needs: growth is a leak, not load"
    )
    volume_size: str = setting(
        "16Mi",
        unit="quantity",
        why="library, limits and usage take less than two MiB; the rest is room for debug symbols",
    )
    startup_timeout_s: int = setting(
        120,
        unit="s",
        low=5,
        high=3600,
        why="the node agent writes the limits within a second of placement; two minutes let it "
        "restart before kubelet restarts the sidecar",
    )
    runtime_class: str = setting(
        "",
        why="empty where the NVIDIA runtime is the node's default; else the RuntimeClass's name, "
        "usually nvidia; a pod that names its own keeps it",
    )
    mps_pipes: str = setting(
        "",
        why="folder of the MPS daemon's sockets on the nodes; empty: pods are not sent to MPS. "
        "A folder of the node in a pod needs a namespace of the privileged pod security level",
    )
    leases: str = setting(
        "",
        why="folder of the lease files on the nodes, on a tmpfs; empty: pods that share SMs keep to "
        "places in the quota window. Needs the same namespaces as mps_pipes",
    )
    leaf_days: int = setting(
        90, unit="d", low=1, high=825, why="renewed at two thirds, so a month may be slept through"
    )
    authority_days: int = setting(
        3650, unit="d", low=30, high=7300, why="its renewal needs the registrations, so it is rare"
    )
    check_interval_s: float = setting(
        5.0,
        unit="s",
        low=0.5,
        high=3600,
        why="how long a re-applied registration may lack our CA; one GET of two small objects",
    )
