"""The command ``kserve-has``: demo, status, version, and what other packages add to it."""
