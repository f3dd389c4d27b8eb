"""Progress bars that cost the event loop nothing: counting is an integer, drawing happens twice a second."""

import asyncio
import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

REDRAW_SECONDS = 0.5


class Step:
    """One bar."""

    __slots__ = ("done", "label", "total")

    def __init__(self, label: str, total: int | None) -> None:
        self.label = label
        self.total = total
        self.done = 0

    def advance(self, count: int = 1) -> None:
        self.done += count


class Bars:
    """Shows the steps under way; on anything but a terminal it prints a line for each finished piece of work."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: list[Step] = []
        self._title = ""

    def title(self, text: str) -> None:
        """What all following steps belong to."""
        self._title = text
        if not self._console.is_terminal:
            self._console.print(text, highlight=False)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Step]:
        step = Step(label, total)
        self._steps.append(step)
        try:
            yield step
        finally:
            self._steps.remove(step)

    async def draw(self) -> None:
        """Redraw until cancelled."""
        if not self._console.is_terminal:
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True, auto_refresh=False) as progress:
            shown = progress.add_task("")
            while True:
                step = self._steps[-1] if self._steps else Step("", None)
                label = f"{self._title}: {step.label}" if step.label else self._title
                progress.update(shown, description=label, total=step.total, completed=step.done, refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)
