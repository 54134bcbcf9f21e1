"""Answers as server-sent events."""

from collections.abc import AsyncGenerator
from functools import partial

import msgspec
from litestar.response import Stream

from app.http.answer_schemas import event_name_and_data
from app.http.event_stream import HEARTBEAT_S, EventStream
from app.services.types import AnswerEvent


async def open_stream(events: AsyncGenerator[AnswerEvent, None], explain: bool) -> Stream:
    """Start the work and answer with its events.

    A failure before the first event is raised here. explain: give the scores of each hit.
    """
    return await AnswerStream(events, explain).respond()


class AnswerStream(EventStream[AnswerEvent]):
    """The events of one answer on their way to one client. heartbeat_s: longest silence, seconds."""

    def __init__(
        self, events: AsyncGenerator[AnswerEvent, None], explain: bool, heartbeat_s: float = HEARTBEAT_S
    ) -> None:
        def encode(event: AnswerEvent) -> bytes:
            return encode_event(*event_name_and_data(event, explain))

        super().__init__(events, encode, partial(encode_event, "error"), heartbeat_s)


def encode_event(name: str, data: object) -> bytes:
    """One server-sent event. JSON has no line breaks of its own, so one data line holds it."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
