"""Bars on a terminal's stderr; nothing where nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from app.cli.output import open_console

# What is counted, how many are done, and of how many; 0: nobody knows.
ShowProgress = Callable[[str, int, int], None]
# Bytes that are read, of how many, and how many texts and tokens they held.
ShowSpeed = Callable[[int, int | None, int, int], None]


@contextmanager
def progress_bar(hidden: bool = False) -> Iterator[ShowProgress]:
    """Yield what moves the bars, one for each thing that is counted."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = open_console(stderr=True)
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=None)
            bar.update(tasks[what], completed=done, total=total or None)

        yield show


@contextmanager
def speed_bar(hidden: bool = False) -> Iterator[ShowSpeed]:
    """Yield what moves one bar over the bytes of a file, with the speed so far."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = open_console(stderr=True)
    columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    began = perf_counter()
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def show(read_bytes: int, size_bytes: int | None, texts: int, tokens: int) -> None:
            seconds = perf_counter() - began
            speed = f"{texts / seconds:,.0f} texts/s, {tokens / seconds:,.0f} tokens/s"
            bar.update(task, completed=read_bytes, total=size_bytes, description=speed)

        yield show
