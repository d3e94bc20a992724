"""The node's MPS daemon: found or started, watched, and its faults healed.

All pods under MPS share one fault domain: a fatal error of one client, or its death in the middle
of a kernel, breaks every client on that GPU, and the server admits nobody until all of them have
ended (measured: ``benchmarks/gpu/mps_faults.py``). So clients are quiesced and terminated before
their pods are killed, and those that broke are ended at once, for kubelet to start them again.
"""
