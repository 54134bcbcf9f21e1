"""The playground: one prompt, or one question about passages, and all that the decoder tells of how it chose
its words.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from app.services.answers import MAX_PASSAGES, source_of
from app.services.chat import ChatService
from app.services.types import CollectionInfo, Hit, SearchInput, SearchOutput
from embeddings.errors import InvalidInput, Overloaded
from generation.answering import Answerer
from generation.causal.chat import ChatEvent, ChatMessage
from generation.causal.chat_reader import ChatReader
from generation.causal.remote import RemoteChatModel
from generation.causal.remote_request import UNSUPPORTED
from generation.reader import UNHONOURED, GroundedReader
from generation.sampling import SamplingSettings
from generation.tracing import ReaderTrace
from generation.types import Passage, Source
from retrieval.types import SearchMode

# chat: one turn of a conversation; completion: a text to go on with; collection: a question to a collection;
# text: a question about a text that comes with it.
PromptKind = Literal["chat", "completion", "collection", "text"]
# Runs that wait for the reader besides the one at work.
MAX_WAITING = 4
MAX_TEXT_CHARS = 20_000


class Searcher(Protocol):
    """What the playground needs of the search service."""

    async def search(self, collection: str, wanted: SearchInput) -> SearchOutput: ...


class Collections(Protocol):
    """What the playground needs of the collection service."""

    async def get(self, name: str) -> CollectionInfo: ...


@dataclass(frozen=True, slots=True)
class PlaygroundInput:
    """prompt: the message, the text to go on with, or the question. system: of a chat. collection: that is
    asked; text: that is asked about; passages, mode: of the search. sampling: its `logprobs` is how many
    alternatives are told with each token.
    """

    kind: PromptKind
    prompt: str
    sampling: SamplingSettings
    system: str = ""
    collection: str | None = None
    text: str = ""
    passages: int = 5
    mode: SearchMode = SearchMode.HYBRID


@dataclass(frozen=True, slots=True)
class PassagesFound:
    """What the decoder is given to answer from, in its order. hits: what a search found; none for a text."""

    passages: tuple[Passage, ...]
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptBuilt:
    """The conversation that a chat decoder gets. grounded: it may only write what the passages say."""

    messages: tuple[ChatMessage, ...]
    grounded: bool


@dataclass(frozen=True, slots=True)
class TraceTold:
    """What the bundled reader weighed. threshold: confidence below which the answer is withheld; None:
    never.
    """

    trace: ReaderTrace
    threshold: float | None


@dataclass(frozen=True, slots=True)
class RunEnded:
    """took_ms: milliseconds from the request on."""

    took_ms: float


PlaygroundEvent = PassagesFound | PromptBuilt | ChatEvent | TraceTold | RunEnded


class PlaygroundService:
    """Runs prompts on the decoder in service.

    kinds: of prompts that it takes; none where no decoder is installed. unhonoured: fields of
    `SamplingSettings` that it cannot honour.
    """

    def __init__(
        self, search: Searcher, collections: Collections, answerer: Answerer, chat: ChatService
    ) -> None:
        self._search = search
        self._collections = collections
        self._answerer = answerer
        self._chat = chat
        self._thread = ThreadPoolExecutor(1, "playground")
        self._in_flight = 0
        self._closing = threading.Event()

    @property
    def decoder(self) -> str | None:
        """The id of the decoder in service."""
        reader = self._answerer.reader
        return None if reader is None else reader.model_id

    @property
    def kinds(self) -> tuple[PromptKind, ...]:
        if isinstance(self._answerer.reader, GroundedReader):
            return ("collection", "text")
        return () if self._chat.model is None else ("chat", "completion", "collection")

    @property
    def unhonoured(self) -> tuple[str, ...]:
        if self._chat.model is None:
            return UNHONOURED
        return UNSUPPORTED if isinstance(self._chat.model, RemoteChatModel) else ()

    async def run(self, wanted: PlaygroundInput) -> AsyncGenerator[PlaygroundEvent, None]:
        """Yield what is found, what is asked and what is chosen, as it comes; `RunEnded` is last.

        Closing the generator stops the decoder. Raises before the first event: InvalidInput for a kind that
        this decoder does not take, or a setting that it cannot honour; NotFound; Overloaded.
        """
        started = time.perf_counter()
        _check(wanted, self.kinds)
        replace(wanted.sampling, logprobs=None).refuse(self.unhonoured, "the decoder in service")
        async with aclosing(self._events(wanted)) as events:
            async for event in events:
                yield event
        yield RunEnded((time.perf_counter() - started) * 1000)

    def close(self) -> None:
        """Stop the decoder and wait for it."""
        self._closing.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _events(self, wanted: PlaygroundInput) -> AsyncGenerator[PlaygroundEvent, None]:
        if wanted.kind == "chat":
            opening = [ChatMessage("system", wanted.system)] if wanted.system.strip() else []
            return self._chat.chat([*opening, ChatMessage("user", wanted.prompt)], wanted.sampling)
        if wanted.kind == "completion":
            return self._chat.complete([wanted.prompt], wanted.sampling)
        return self._ask(wanted)

    async def _ask(self, wanted: PlaygroundInput) -> AsyncGenerator[PlaygroundEvent, None]:
        """A question about passages."""
        found, threshold, answerer = await self._found(wanted)
        yield found
        reader = answerer.reader
        if isinstance(reader, GroundedReader):
            if found.passages:
                trace = await self._trace(reader, found.passages, wanted)
                yield TraceTold(trace, threshold)
        elif isinstance(reader, ChatReader):
            plan = await asyncio.to_thread(reader.plan, wanted.prompt, found.passages, wanted.sampling)
            yield PromptBuilt(plan.prompt.messages, plan.response is not None)
            sampling = replace(wanted.sampling, max_tokens=plan.sampling.max_tokens)
            async with aclosing(self._chat.chat(plan.prompt.messages, sampling, plan.response)) as events:
                async for event in events:
                    yield event

    async def _found(self, wanted: PlaygroundInput) -> tuple[PassagesFound, float | None, Answerer]:
        """The passages as the reader gets them, the threshold, and the answerer with its prompt."""
        if wanted.kind == "text":
            whole = Source("text", 1, 0, len(wanted.text), wanted.text)
            passages = _numbered(self._answerer.readable(wanted.prompt, [whole]))
            return PassagesFound(passages), self._answerer.refuse_below, self._answerer
        name = wanted.collection or ""
        settings = (await self._collections.get(name)).settings
        found = await self._search.search(name, SearchInput(wanted.prompt, wanted.mode, wanted.passages))
        answerer = self._answerer.prompted(settings.prompt)
        passages = _numbered(answerer.readable(wanted.prompt, [source_of(hit) for hit in found.hits]))
        own = settings.refusal_threshold
        return PassagesFound(passages, found.hits), answerer.refuse_below if own is None else own, answerer

    async def _trace(
        self, reader: GroundedReader, passages: Sequence[Passage], wanted: PlaygroundInput
    ) -> ReaderTrace:
        """Read in the thread. Raises Overloaded when too many wait for it."""
        if self._closing.is_set() or self._in_flight > MAX_WAITING:
            raise _busy(self._in_flight)
        abandoned = threading.Event()
        sampling = replace(wanted.sampling, logprobs=None)
        alternatives = wanted.sampling.logprobs or 1

        def read() -> ReaderTrace | None:
            return reader.trace(
                wanted.prompt,
                passages,
                sampling,
                alternatives=alternatives,
                cancelled=lambda: abandoned.is_set() or self._closing.is_set(),
            )

        self._in_flight += 1
        try:
            trace = await asyncio.wrap_future(self._thread.submit(read))
        finally:
            abandoned.set()
            self._in_flight -= 1
        if trace is None:
            raise Overloaded("the service is stopping", next_step="ask again when it has started")
        return trace


def _numbered(sources: Sequence[Source]) -> tuple[Passage, ...]:
    return tuple(Passage(number, each.text, each.title) for number, each in enumerate(sources, start=1))


def _check(wanted: PlaygroundInput, kinds: Sequence[PromptKind]) -> None:
    if wanted.kind not in kinds:
        raise InvalidInput(
            f"the decoder in service takes no prompt of the kind {wanted.kind}",
            field="kind",
            found=wanted.kind,
            expected=", ".join(kinds) or "a decoder; none is installed",
        )
    if not wanted.prompt.strip() and wanted.kind != "completion":
        raise InvalidInput("there is nothing to ask", field="prompt", found="no text", expected="a text")
    if wanted.kind == "text" and not 1 <= len(wanted.text) <= MAX_TEXT_CHARS:
        raise InvalidInput(
            f"the text has {len(wanted.text)} characters",
            field="text",
            found=f"{len(wanted.text)} characters",
            expected=f"1 to {MAX_TEXT_CHARS} characters",
        )
    if not 1 <= wanted.passages <= MAX_PASSAGES:
        raise InvalidInput(
            f"passages is {wanted.passages}",
            field="passages",
            found=str(wanted.passages),
            expected=f"1 to {MAX_PASSAGES}",
        )


def _busy(waiting: int) -> Overloaded:
    return Overloaded(
        f"{waiting} runs of the playground wait for the decoder",
        found=f"{waiting} in flight",
        expected=f"at most {MAX_WAITING}",
        next_step="try again in a few seconds",
    )
