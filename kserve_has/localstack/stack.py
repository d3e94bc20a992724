"""The local stack as a context manager: everything up when entered, everything gone when left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from ..config.localstack import LocalStackSettings
from ..errors import StackError
from . import layout, namespace, parts
from .assembly import Assembly, Level

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What varies between stacks.

    Attributes:
        level: "control-plane", "kserve" (with KServe's controller) or "full" (with everything).
        out: folder below which ``stack/`` holds logs, certificates and data.
        settings: size and patience.
        autoscaler: settings of the autoscaler that differ from its defaults.
        report: gets one line a step.
    """

    level: Level = "full"
    out: Path = Path("out")
    settings: LocalStackSettings = field(default_factory=LocalStackSettings)
    autoscaler: Mapping[str, object] = field(default_factory=dict)
    report: Callable[[str], None] = lambda _line: None


class LocalStack:
    """A running stack; made by :meth:`up` only.

    Attributes:
        folder: ``<out>/stack``; logs are in ``folder / "logs"``, one file a process.
        gateway_url: where the gateway serves requests, at level "full".
        prometheus_url: Prometheus, at level "full".
    """

    def __init__(self, options: StackOptions) -> None:
        self.folder = options.out.resolve() / "stack"
        self.gateway_url = layout.GATEWAY_URL
        self.prometheus_url = layout.PROMETHEUS_URL
        self._parts = parts.present()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._assembly = Assembly(
            self._parts, self.folder, options.settings, options.autoscaler, options.report
        )

    @classmethod
    @contextlib.contextmanager
    def up(cls, options: StackOptions) -> Iterator[LocalStack]:
        """Start a stack, and stop it whatever happens.

        Raises:
            StackError: this process is not inside the stack's namespace, a part is missing, or a
                process did not become ready; the message shows its last lines.
        """
        if not namespace.inside():
            raise StackError(
                "the pod network is not local here; start the command with: "
                "python -m kserve_has.localstack.namespace -- COMMAND"
            )
        stack = cls(options)
        stack._thread.start()
        try:
            stack.raise_to(options.level)
            yield stack
        finally:
            stack._close()

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of the administrator."""
        return self._assembly.identities.admin

    @property
    def logs(self) -> Path:
        """The folder of the processes' logs."""
        return self.folder / "logs"

    def raise_to(self, level: Level) -> None:
        """Start what a higher level has in addition; nothing if it runs already.

        Raises:
            StackError: a process did not become ready; the message shows its last lines.
        """
        self._call(self._assembly.raise_to(level))

    def environment(self) -> dict[str, str]:
        """Return the variables under which a command uses this stack, kubectl on its path."""
        kubectl = Path(self._parts.binary("kubectl")).parent
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{kubectl}:{os.environ.get('PATH', '')}",
            "KSERVE_HAS_STACK": str(self.folder),
            "KSERVE_HAS_GATEWAY_URL": self.gateway_url,
            "KSERVE_HAS_PROMETHEUS_URL": self.prometheus_url,
        }

    def as_user(self, name: str, user: str, group: str = "") -> Path:
        """Return a kubeconfig, called ``name``, of any user in at most one group."""
        return self._assembly.identities.client(name, user, group)

    def as_service_account(self, account: str, namespace: str) -> Path:
        """Return a kubeconfig of a ServiceAccount, with a token from the TokenRequest API.

        Raises:
            ApiError: there is no such ServiceAccount.
        """
        return self._call(self._assembly.as_service_account(account, namespace))

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl as administrator and return what it printed.

        Raises:
            StackError: it failed; the message is kubectl's own.
        """
        return self._call(self._assembly.cluster.kubectl(*arguments, stdin=stdin))

    def processes(self) -> dict[str, int]:
        """Return the process id of every process of the stack, by name."""
        return self._assembly.supervisor.processes()

    def starts(self, name: str) -> int:
        """Return how often a process was started.

        Raises:
            StackError: there is no process of that name.
        """
        return self._assembly.supervisor.starts(name)

    def kill(self, name: str) -> None:
        """Kill a process without warning; return once the stack has started it again."""
        self._call(self._assembly.supervisor.signal(name, signal.SIGKILL))

    def restart(self, name: str) -> None:
        """Ask a process to end; return once the stack has started it again."""
        self._call(self._assembly.supervisor.signal(name, signal.SIGTERM))

    def wait_ready(self, name: str) -> None:
        """Wait until a process, started again perhaps, is ready.

        Raises:
            StackError: it did not become ready in time.
        """
        self._call(self._assembly.wait_ready(name))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _close(self) -> None:
        try:
            self._call(self._assembly.stop())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
