"""The admission webhook: an application, not a library; nothing else should import it."""
