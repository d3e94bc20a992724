"""An event loop whose clock jumps to the next thing to do, so that hours pass in milliseconds."""

import asyncio
import selectors
import time


class _Jumping(selectors.DefaultSelector):
    def __init__(self):
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("everything waits for something that will never happen")
        if not ready:
            self.now_s += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.selector = _Jumping()
        super().__init__(self.selector)

    def time(self):
        # A loop compares with a resolution: a hair more makes what is due really due.
        return self.selector.now_s + 1e-6


def run(main, monkeypatch, wall_s=1_800_000_000.0):
    """Run a coroutine function in virtual time, with the clocks of ``time`` in step."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        base_s = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: base_s + loop.time())
        monkeypatch.setattr(time, "monotonic_ns", lambda: int((base_s + loop.time()) * 1e9))
        monkeypatch.setattr(time, "time", lambda: wall_s + loop.time())
        return runner.run(main())
