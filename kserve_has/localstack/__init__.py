"""The local stack: KServe on a real control plane, as ordinary processes on one machine.

etcd, the Kubernetes control plane, KServe's controller, Envoy and Prometheus are the unmodified
upstream programs (:mod:`.parts` builds them once). They run in a namespace of their own
(:mod:`.namespace`), nodes are stand-ins that start pods as processes, and GPUs are emulated.
"""
