"""Opens the data folder for one command. It works beside a running server, which follows the database."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from app.resources import Resources

T = TypeVar("T")


def run_with_resources(work: "Callable[[Resources], Awaitable[T]]") -> T:
    """Open the folder that FOOTNOTE_HOME names, do the work, close it again."""
    import asyncio

    from app.resources import open_resources
    from app.settings import load_settings

    async def session() -> T:
        async with open_resources(load_settings()) as resources:
            return await work(resources)

    return asyncio.run(session())
