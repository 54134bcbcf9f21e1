"""The form of OpenAI's streams, apart from any route."""

import asyncio
from collections.abc import AsyncGenerator

from msgspec import Struct

from app.http.event_stream import HEARTBEAT
from app.http.openai_chat_stream import DONE, open_openai_stream


class Word(Struct):
    """A chunk."""

    word: str


def chunks_of(event: str) -> list[Word]:
    return [Word(word) for word in event.split()]


async def test_comment_comes_while_nothing_is_written_and_done_at_the_end() -> None:
    go_on = asyncio.Event()

    async def work() -> AsyncGenerator[str, None]:
        yield "in May"
        yield ""
        await go_on.wait()
        yield "июнь"

    frames = aiter((await open_openai_stream(work(), chunks_of, heartbeat_s=0.01)).iterator)
    assert await anext(frames) == b'data: {"word":"in"}\n\ndata: {"word":"May"}\n\n'
    assert await anext(frames) == HEARTBEAT
    go_on.set()
    rest = [frame async for frame in frames if frame != HEARTBEAT]
    assert [frame if isinstance(frame, bytes) else frame.encode() for frame in rest] == [
        'data: {"word":"июнь"}\n\n'.encode(),
        DONE,
    ]
