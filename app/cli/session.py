"""Opens the data folder for one command. It works beside a running server, which follows the database."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from app.db.engine import Database
    from app.resources import Models, Resources
    from app.settings import Settings

T = TypeVar("T")


def run_with_resources(work: "Callable[[Resources], Awaitable[T]]") -> T:
    """Open the folder that FOOTNOTE_HOME names with all models, do the work, close it again."""
    from app.resources import load_models

    return _run(work, load_models)


def run_with_encoder(work: "Callable[[Resources], Awaitable[T]]") -> T:
    """The same without the decoder, for what asks it nothing."""
    from app.resources import load_retrieval_models

    return _run(work, load_retrieval_models)


def run_without_models(work: "Callable[[Resources], Awaitable[T]]") -> T:
    """The same without any model, for what encodes nothing."""
    from app.resources import no_models

    return _run(work, no_models)


def run_with_database(work: "Callable[[Database], Awaitable[T]]") -> T:
    """The same with the database alone, for what needs neither models nor indexes."""
    import asyncio

    from app.data_folder import prepare_database
    from app.db.engine import Database
    from app.settings import load_settings

    async def session() -> T:
        settings = load_settings()
        await prepare_database(settings)
        database = Database(settings.database, settings.busy_timeout_s)
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(session())


def _run(work: "Callable[[Resources], Awaitable[T]]", load: "Callable[[Settings], Models]") -> T:
    import asyncio

    from app.resources import open_resources
    from app.settings import load_settings

    async def session() -> T:
        async with open_resources(load_settings(), load=load) as resources:
            return await work(resources)

    return asyncio.run(session())


@contextmanager
def open_session() -> "Iterator[Callable[[Callable[[Resources], Awaitable[T]]], T]]":
    """Open the folder once for several pieces of work. Between two of them Ctrl-C comes as in any program."""
    import asyncio

    from app.resources import open_resources
    from app.settings import load_settings

    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        resources = runner.run(stack.enter_async_context(open_resources(load_settings())))

        async def run(work: "Callable[[Resources], Awaitable[T]]") -> T:
            return await work(resources)

        try:
            yield lambda work: runner.run(run(work))
        finally:
            runner.run(stack.aclose())
