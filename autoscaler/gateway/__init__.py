"""The gateway's feeder: turns services and ready pods into Envoy's configuration files."""
