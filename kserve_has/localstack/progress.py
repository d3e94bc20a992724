"""One line of progress: a spinner with the time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextlib.contextmanager
def shown(title: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that shows the step under way, on stderr, until the block ends."""
    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield lambda step: console.print(f"{title}: {step}", soft_wrap=True)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[title]}: {task.description}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None, title=title)
        yield lambda step: progress.update(task, description=step)
