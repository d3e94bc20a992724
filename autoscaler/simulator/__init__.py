"""Request-level simulation of the whole loop, driven by the very policy that runs live."""
