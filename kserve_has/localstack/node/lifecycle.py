"""What should run next in a pod: decisions without processes or clocks. Pure.

Times are seconds since the epoch, given by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from .spec import ContainerSpec, PodSpec

FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 30.0
BACKOFF_FORGOTTEN_S: Final = 60.0  # a run this long starts the back-off over
LAST_GRACE_S: Final = 2.0  # what sidecars get at least, however late the pod is


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended."""

    code: int
    started_at: float
    finished_at: float
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container as far as decisions and status need it.

    Attributes:
        started_at: start of the present process, None while there is none.
        started: the startup probe has passed (or there is none and the process runs).
        ready: started and the readiness probe holds.
        last: how the previous process ended; it is the present state while not running.
        restart_at: earliest start after a crash.
        backoff_s: wait that the last crash earned.
        stop_sent_at: when termination began; kill_at: when SIGKILL is due.
        refusal: (reason, message) of a start that failed before any process existed.
    """

    started_at: float | None = None
    started: bool = False
    ready: bool = False
    restarts: int = 0
    last: Exit | None = None
    restart_at: float = 0.0
    backoff_s: float = 0.0
    stop_sent_at: float | None = None
    kill_at: float | None = None
    refusal: tuple[str, str] | None = None

    @property
    def running(self) -> bool:
        """Whether a process exists."""
        return self.started_at is not None


@dataclass
class PodState:
    """All containers of a pod, and whether it must end.

    Attributes:
        initialized: every init container has done its part; latched.
        stop_deadline: when the grace period of the whole pod is over, None while it may run.
    """

    containers: dict[str, ContainerState] = field(default_factory=dict)
    initialized: bool = False
    stop_deadline: float | None = None

    def of(self, container: ContainerSpec) -> ContainerState:
        """Return the state of a container, a fresh one before its first start."""
        return self.containers.get(container.name, ContainerState())


@dataclass(frozen=True, slots=True)
class Start:
    """Start the process of a container."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Begin the termination of a container: preStop, then SIGTERM."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL a container whose grace is over."""

    name: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing runs and nothing will: the pod is done."""


Action = Start | Stop | Kill | Finish


def decide(spec: PodSpec, state: PodState, now: float) -> list[Action]:
    """Return what to do now; called again after every change and at ``next_wake``."""
    overdue: list[Action] = [Kill(c.name) for c in spec.containers if _kill_due(state.of(c), now)]
    if state.stop_deadline is not None:
        return overdue + list(_wind_down(spec, state))
    if finished(spec, state):
        return overdue + list(_wind_down(spec, state))
    return overdue + list(_bring_up(spec, state, now))


def next_wake(spec: PodSpec, state: PodState, now: float) -> float | None:
    """Return when time alone will change the decision, None when only an event can."""
    times = [
        time
        for held in (state.of(c) for c in spec.containers)
        for time in (held.kill_at, None if held.running else held.restart_at)
        if time is not None and time > now
    ]
    return min(times, default=None)


def finished(spec: PodSpec, state: PodState) -> bool:
    """Whether a pod has ended by itself: nothing of it will be started again."""
    if _failed_in_init(spec, state):
        return True
    if not state.initialized or spec.restart_policy == "Always":
        return False
    return all(_ended_for_good(spec, state.of(c)) for c in spec.main)


def will_restart(spec: PodSpec, state: PodState, container: ContainerSpec) -> bool:
    """Whether a container that has ended waits for its next start."""
    held = state.of(container)
    if held.running or held.last is None or state.stop_deadline is not None:
        return False
    if finished(spec, state):
        return False
    if container.is_sidecar:
        return True
    return held.last.code != 0 if container.is_init else not _ended_for_good(spec, held)


def after_start(held: ContainerState, now: float, *, has_startup_probe: bool) -> ContainerState:
    """Return the state of a container whose process has just been started."""
    return replace(
        held,
        started_at=now,
        started=not has_startup_probe,
        ready=False,
        restarts=held.restarts + (1 if held.last is not None else 0),
        stop_sent_at=None,
        kill_at=None,
        refusal=None,
    )


def after_exit(held: ContainerState, now: float, code: int) -> ContainerState:
    """Return the state of a container whose process has ended; a crash earns a longer wait."""
    started_at = held.started_at if held.started_at is not None else now
    forgotten = now - started_at >= BACKOFF_FORGOTTEN_S
    wait = FIRST_BACKOFF_S if forgotten or not held.backoff_s else held.backoff_s * 2
    wait = min(wait, LONGEST_BACKOFF_S)
    return replace(
        held,
        started_at=None,
        started=False,
        ready=False,
        last=Exit(code, started_at, now, reason="Error" if code else "Completed"),
        backoff_s=wait,
        restart_at=now + wait,
        stop_sent_at=None,
        kill_at=None,
    )


def after_refusal(held: ContainerState, now: float, reason: str, message: str) -> ContainerState:
    """Return the state of a container that could not be started at all."""
    wait = min(held.backoff_s * 2 or FIRST_BACKOFF_S, LONGEST_BACKOFF_S)
    return replace(held, refusal=(reason, message), backoff_s=wait, restart_at=now + wait)


def after_stop(
    held: ContainerState, now: float, grace_s: float, deadline: float | None
) -> ContainerState:
    """Return the state of a container that has been told to end."""
    kill_at = now + grace_s if deadline is None else max(deadline, now + min(grace_s, LAST_GRACE_S))
    return replace(held, stop_sent_at=now, kill_at=kill_at)


def _kill_due(held: ContainerState, now: float) -> bool:
    return held.running and held.kill_at is not None and now >= held.kill_at


def _ended_for_good(spec: PodSpec, held: ContainerState) -> bool:
    if held.running or held.last is None or spec.restart_policy == "Always":
        return False
    return spec.restart_policy == "Never" or held.last.code == 0


def _failed_in_init(spec: PodSpec, state: PodState) -> bool:
    if spec.restart_policy != "Never" or state.initialized:
        return False
    plain = (state.of(c) for c in spec.init if not c.is_sidecar)
    return any(held.last is not None and held.last.code and not held.running for held in plain)


def _bring_up(spec: PodSpec, state: PodState, now: float) -> Iterator[Action]:
    """Start init containers in order, each waiting for the one before, then the main ones."""
    for container in spec.init:
        held = state.of(container)
        if container.is_sidecar:
            if not held.running and now >= held.restart_at:
                yield Start(container.name)
            if not held.started and not state.initialized:
                return
        elif not state.initialized:
            if held.last is not None and held.last.code == 0 and not held.running:
                continue
            if not held.running and now >= held.restart_at:
                yield Start(container.name)
            return
    state.initialized = True
    for container in spec.main:
        held = state.of(container)
        if not held.running and now >= held.restart_at and not _ended_for_good(spec, held):
            yield Start(container.name)


def _wind_down(spec: PodSpec, state: PodState) -> Iterator[Action]:
    """Stop everything but sidecars at once, then the sidecars, last started first."""
    others = [c for c in spec.containers if not c.is_sidecar and state.of(c).running]
    if others:
        yield from (Stop(c.name) for c in others if state.of(c).stop_sent_at is None)
        return
    for container in reversed(spec.sidecars):
        held = state.of(container)
        if held.running:
            if held.stop_sent_at is None:
                yield Stop(container.name)
            return
    yield Finish()
