"""Every name that crosses from one component to another, in one place.

Users write the first group on an InferenceService; KServe copies it to the pods. Machines write
the second group on pods and nodes only: an annotation written on an InferenceService after
creation would roll its Deployment.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "kserve-has/"

# --- written by users on an InferenceService ------------------------------------------------
OBJECTIVE_LATENCY: Final = PREFIX + "objective-latency"  # opts the service in: "80ms"
OBJECTIVE_PERCENTILE: Final = PREFIX + "objective-percentile"  # "p95" (default), p50..p99
SERVED_MODEL: Final = PREFIX + "served-model"  # name in the latency model: "resnet50"
BATCH: Final = PREFIX + "batch"  # instances a request carries, 1..128, default 1
CONCURRENCY: Final = PREFIX + "concurrency"  # requests at once per replica, 1..64, default 1
GPU_MEMORY: Final = PREFIX + "gpu-memory"  # cap per replica: "4Gi"
MIN_SM_PARTITION: Final = PREFIX + "min-sm-partition"  # SMs, default one group
MAX_SM_PARTITION: Final = PREFIX + "max-sm-partition"  # SMs, default the whole GPU
ISOLATION: Final = PREFIX + "isolation"  # "shared" (default) or "exclusive"
BURST: Final = PREFIX + "burst"  # "true": beyond the quota, use what no other replica wants
PRIORITY: Final = PREFIX + "priority"  # 0..1000, default 100; the lower degrades first

USER_ANNOTATIONS: Final = (
    OBJECTIVE_LATENCY,
    OBJECTIVE_PERCENTILE,
    SERVED_MODEL,
    BATCH,
    CONCURRENCY,
    GPU_MEMORY,
    MIN_SM_PARTITION,
    MAX_SM_PARTITION,
    ISOLATION,
    BURST,
    PRIORITY,
)

# --- written by machines on a pod -----------------------------------------------------------
INJECTED: Final = PREFIX + "injected"  # webhook: version of what it injected
GPU_UUID: Final = PREFIX + "gpu-uuid"  # autoscaler, once, when it places the pod
SM_GROUPS: Final = PREFIX + "sm-groups"  # autoscaler: hex bitmap of split groups, "0x00ff"
SM_PARTITION: Final = PREFIX + "sm-partition"  # autoscaler: SMs those groups hold, "64"
QUOTA: Final = PREFIX + "quota"  # autoscaler: per cent of each quota window, "40"
MEMORY_LIMIT: Final = PREFIX + "memory-limit"  # autoscaler: bytes
EPOCH: Final = PREFIX + "epoch"  # autoscaler: grows by one with every change of the allocation
CAPACITY_RPS: Final = PREFIX + "capacity-rps"  # autoscaler: predicted, gateway weights
IN_FORCE: Final = PREFIX + "in-force"  # agent: {"epoch","sm_groups","quota","backend","at"}
POD_DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

SCHEDULING_GATE: Final = PREFIX + "placement"

# --- written by the node agent on its Node --------------------------------------------------
# JSON list of {"uuid","product","sm_count","sm_group_size","memory_bytes","backend","reason",
# "healthy"}
NODE_GPUS: Final = PREFIX + "gpus"
NODE_BACKEND: Final = PREFIX + "backend"  # label: "A", "B", "C", "mixed" or "none"
NODE_LABEL: Final = PREFIX + "gpu-node"  # "true" on nodes dedicated to kserve-has
NODE_TAINT: Final = PREFIX + "gpu-node"  # effect NoSchedule, value "true"

# --- KServe's and Kubernetes' names that we rely on -----------------------------------------
KSERVE_AUTOSCALER_CLASS: Final = "serving.kserve.io/autoscalerClass"
KSERVE_DEPLOYMENT_MODE: Final = "serving.kserve.io/deploymentMode"
KSERVE_ISVC_LABEL: Final = "serving.kserve.io/inferenceservice"
KSERVE_CONTAINER: Final = "kserve-container"
KSERVE_HTTP_PORT: Final = 8080  # where a container that names no port is expected
LONGEST_TIMEOUT_S: Final = 3600  # of spec.predictor.timeout
KSERVE_GROUP: Final = "serving.kserve.io"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"

# --- inside an injected pod -----------------------------------------------------------------
SIDECAR_CONTAINER: Final = "kserve-has-quota"
QUOTA_VOLUME: Final = "kserve-has-quota"  # emptyDir, medium Memory
QUOTA_DIR: Final = "/run/kserve-has"  # where that volume is mounted
LIBRARY_FILE: Final = "libhas_quota.so"
LIMITS_FILE: Final = "limits"  # struct has_limits, written by the node agent only
USAGE_FILE: Final = "usage"  # struct has_usage, written by the library's processes
ENV_PRELOAD: Final = "LD_PRELOAD"
ENV_VISIBLE_DEVICES: Final = "NVIDIA_VISIBLE_DEVICES"  # from GPU_UUID by downward API
ENV_QUOTA_DIR: Final = "KSERVE_HAS_DIR"
ENV_MPS_PIPES: Final = "CUDA_MPS_PIPE_DIRECTORY"
MPS_VOLUME: Final = "kserve-has-mps"  # the node's folder of the MPS daemon's sockets
MPS_DIR: Final = "/run/kserve-has-mps"  # where that volume is mounted
ENV_LEASES: Final = "KSERVE_HAS_LEASES"  # folder of the lease files, one per GPU of the node
LEASES_VOLUME: Final = "kserve-has-leases"  # the node's folder of them
LEASES_DIR: Final = "/run/kserve-has-leases"  # where that volume is mounted
ENV_EMULATOR_DIR: Final = "KSERVE_HAS_EMULATED_GPUS"  # folder of the emulated GPUs of a node
SIDECAR_PORT: Final = 9402  # /metrics, /healthz of the sidecar

# --- our own workloads ----------------------------------------------------------------------
NAMESPACE: Final = "kserve-has"
SERVICE_ACCOUNT_AUTOSCALER: Final = "kserve-has-autoscaler"
SERVICE_ACCOUNT_WEBHOOK: Final = "kserve-has-webhook"
SERVICE_ACCOUNT_AGENT: Final = "kserve-has-agent"
SERVICE_ACCOUNT_GATEWAY: Final = "kserve-has-gateway"
LEASE_NAME: Final = "kserve-has-autoscaler"
CONFIG_MAP: Final = "kserve-has-config"
WEBHOOK_PORT: Final = 9443
WEBHOOK_PATH_ISVC_MUTATE: Final = "/mutate-inferenceservice"
WEBHOOK_PATH_ISVC_VALIDATE: Final = "/validate-inferenceservice"
WEBHOOK_PATH_POD_MUTATE: Final = "/mutate-pod"
AUTOSCALER_PORT: Final = 9400  # /metrics, /healthz
AGENT_PORT: Final = 9401  # /metrics, /healthz
GATEWAY_PORT: Final = 8090  # Envoy: route by Host header "<service>.<namespace>"
GATEWAY_ADMIN_PORT: Final = 9403  # Envoy: /stats/prometheus


def kubelet_volume_dir(kubelet_root: str, pod_uid: str) -> str:
    """Return where kubelet keeps a pod's quota volume on the node."""
    return f"{kubelet_root}/pods/{pod_uid}/volumes/kubernetes.io~empty-dir/{QUOTA_VOLUME}"


def gateway_host(service: str, namespace: str) -> str:
    """Return the Host header under which the gateway serves an InferenceService."""
    return f"{service}.{namespace}"


def predictor_name(service: str) -> str:
    """Return the name of the Deployment and Service that KServe makes for a predictor."""
    return f"{service}-predictor"
