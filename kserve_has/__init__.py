"""The shared language of kserve-has, its latency model, its command line and its local stack.

Who calls whom: the *webhook* opts pods in and gates their scheduling; the *autoscaler* observes
Prometheus and pods, decides with the pure policy and the latency model, and writes allocations
as pod annotations; the *gateway* turns pods and their predicted capacity into Envoy endpoints;
the *node agent* turns annotations into mapped limit blocks; the *quota runtime* library inside
every replica obeys them. Nothing here imports those components.
"""

__version__ = "0.1.0"
