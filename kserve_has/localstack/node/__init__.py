"""A small stand-in for kubelet: pods of one node run as local processes.

What a pod sees is what kubelet would give it: its own address, volumes at their mount paths in a
mount namespace of its own, downward-API values resolved at container start, init containers and
native sidecars in order, probes, restarts with back-off, graceful termination. What the API server
sees is a node that registers, renews its Lease and reports pod status with transition times.

Two liberties are taken. All pods share one network namespace, so a program must bind its pod's
address instead of all of them: the stand-in hands it over as ``KSERVE_HAS_BIND_ADDRESS``, which
our model server and sidecar honour. And an image is a name: containers run ``command``, or the
program known for our own images, from the environment the stand-in itself runs in.
"""
