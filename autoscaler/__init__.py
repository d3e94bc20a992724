"""The hybrid autoscaler: an application, not a library; nothing else should import it."""
