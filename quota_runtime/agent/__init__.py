"""The node agent: the only writer of every pod's limits on its node.

It publishes the node's GPUs, turns the annotations of its pods into limit blocks, hands SM groups
from one pod to the next only after the first has let go, and acknowledges on each pod what is
really in force. It keeps no state of its own: after a restart everything is read back from pods,
limit blocks and usage files, and running pods notice nothing.
"""
