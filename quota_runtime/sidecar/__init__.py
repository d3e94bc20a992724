"""The sidecar of an injected pod: brings the preload library and says what is in force.

It talks to nobody but the pod's memory volume. Its startup probe passes once the library is in
place and the node agent has written valid limits, so the model's container starts after both.
"""
