"""Requests, replicas and GPUs in invented time, driving exactly the policy that runs live."""
