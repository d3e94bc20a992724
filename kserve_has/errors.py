"""Every error that kserve-has raises on purpose.

::

    HasError
    ├── SettingsError      a setting is missing, malformed or out of range
    ├── AnnotationError    a user's annotation cannot be accepted; carries all problems at once
    ├── AllocationError    a piece of a GPU that cannot exist (a programmer's error)
    ├── LatencyModelError  nothing is known about this model, GPU or configuration
    ├── TraceError         a request-rate file cannot be replayed; names line and reason
    ├── ClusterError       the API server or Prometheus refused or did not answer
    ├── AgentError         the node agent cannot do what it was told
    └── StackError         the local stack could not start or broke

Messages say what was expected, what was found and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class HasError(Exception):
    """Base of every deliberate error of kserve-has."""


class SettingsError(HasError):
    """A setting is missing, malformed or outside its range."""


class AnnotationError(HasError):
    """A user's annotations cannot be accepted.

    Attributes:
        problems: one sentence per problem, each naming key, value and what is accepted.

    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class AllocationError(HasError):
    """A piece of a GPU that cannot exist."""


class LatencyModelError(HasError):
    """The latency model knows nothing about what it was asked."""


class TraceError(HasError):
    """A request-rate file cannot be replayed."""


class ClusterError(HasError):
    """The API server or Prometheus refused or did not answer."""


class AgentError(HasError):
    """The node agent cannot do what it was told."""


class StackError(HasError):
    """The local stack could not start or broke."""
