"""The quota runtime: a C library inside every replica, a sidecar beside it, an agent per node."""
