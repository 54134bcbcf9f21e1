"""The same client for programs that do other things while they wait."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from itertools import count
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import httpx
import msgspec

from app.client.call import Call
from app.client.calls import administration, collections, documents, jobs, questions, texts
from app.client.connection import (
    DEFAULT_URL,
    JOB_POLL_S,
    PAGE_ENTRIES,
    TIMEOUT_S,
    PageT,
    finished,
    http_options,
    shown_as,
    still_active,
)
from app.client.events import EventLines, read_answer_event, read_job_event
from app.client.failures import failure_of, unknown_reply, unreachable
from app.client.job_replies import Job, JobItem
from app.client.replies import Answer, AnswerEvent, Document
from app.client.retries import RetryPolicy

P = ParamSpec("P")
T = TypeVar("T")


def _method(call: Callable[P, Call[T]]) -> "Callable[Concatenate[AsyncFootnote, P], Coroutine[Any, Any, T]]":
    """A method that sends a call and returns its reply."""

    async def send(client: "AsyncFootnote", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await client.send(call(*args, **kwargs))

    return shown_as(call, send)


def _answer_stream(
    call: Callable[P, Call[Answer]],
) -> "Callable[Concatenate[AsyncFootnote, P], AsyncGenerator[AnswerEvent, None]]":
    """A method that asks and yields what comes: `Found`, then `Delta` and `Citation`, last `Answer`."""

    async def stream(
        client: "AsyncFootnote", /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncGenerator[AnswerEvent, None]:
        async with aclosing(client.events(questions.as_events(call(*args, **kwargs)))) as events:
            async for name, data in events:
                if (event := read_answer_event(name, data)) is not None:
                    yield event

    return shown_as(call, stream)


class AsyncFootnote:
    """A running Footnote, over HTTP and without blocking the event loop; see `Footnote`.

    url: where the service listens; key: `fn_...`, which reading on loopback does not need; timeout_s: longest
    silence, in seconds; deadline_s: the service gives a search or an answer up after so many; retry: when a
    request is sent again; transport: in place of the network.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float | None = None,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._retry = retry or RetryPolicy()
        self._http = httpx.AsyncClient(transport=transport, **http_options(url, key, timeout_s, deadline_s))

    create_collection = _method(collections.create_collection)
    list_collections = _method(collections.list_collections)
    get_collection = _method(collections.get_collection)
    update_collection = _method(collections.update_collection)
    delete_collection = _method(collections.delete_collection)

    add_documents = _method(documents.add_documents)
    add_files = _method(documents.add_files)
    ingest_files = _method(documents.ingest_files)
    list_documents = _method(documents.list_documents)
    get_document = _method(documents.get_document)
    delete_document = _method(documents.delete_document)
    delete_documents = _method(documents.delete_documents)
    get_text = _method(documents.get_text)
    get_original = _method(documents.get_original)

    search = _method(questions.search)
    answer = _method(questions.answer)
    stream_answer = _answer_stream(questions.answer)
    list_conversations = _method(questions.list_conversations)
    get_conversation = _method(questions.get_conversation)
    delete_conversation = _method(questions.delete_conversation)
    delete_conversations = _method(questions.delete_conversations)
    get_map = _method(questions.get_map)
    add_feedback = _method(questions.add_feedback)

    list_jobs = _method(jobs.list_jobs)
    get_job = _method(jobs.get_job)
    list_job_items = _method(jobs.list_job_items)
    cancel_job = _method(jobs.cancel_job)
    resume_job = _method(jobs.resume_job)
    retry_job = _method(jobs.retry_job)
    create_snapshot = _method(jobs.create_snapshot)

    reindex = _method(administration.reindex)
    list_releases = _method(administration.list_releases)
    get_release = _method(administration.get_release)
    promote_release = _method(administration.promote_release)
    roll_back = _method(administration.roll_back)
    prune_releases = _method(administration.prune_releases)
    list_golden_queries = _method(administration.list_golden_queries)
    add_golden_query = _method(administration.add_golden_query)
    remove_golden_query = _method(administration.remove_golden_query)
    list_feedback = _method(administration.list_feedback)
    remove_feedback = _method(administration.remove_feedback)
    train = _method(administration.train)
    training_report = _method(administration.training_report)
    get_stats = _method(administration.get_stats)

    embed = _method(texts.embed)
    rerank = _method(texts.rerank)
    classify = _method(texts.classify)
    list_classifiers = _method(texts.list_classifiers)
    similarity = _method(texts.similarity)
    list_models = _method(texts.list_models)

    async def iterate_documents(self, collection: str) -> AsyncIterator[Document]:
        """Yield every document of a collection by id, page by page."""
        pages = self._pages(
            lambda after: documents.list_documents(collection, limit=PAGE_ENTRIES, after=after)
        )
        async for page in pages:
            for document in page.documents:
                yield document

    async def iterate_job_items(self, job_id: str) -> AsyncIterator[JobItem]:
        """Yield every item of a job in its order, page by page."""
        pages = self._pages(lambda after: jobs.list_job_items(job_id, limit=PAGE_ENTRIES, after=after))
        async for page in pages:
            for item in page.items:
                yield item

    async def follow_job(self, job_id: str) -> AsyncGenerator[Job, None]:
        """Yield a job now, after each change, and when it has ended."""
        async with aclosing(self.events(jobs.job_events(job_id))) as events:
            async for name, data in events:
                if (job := read_job_event(name, data)) is not None:
                    yield job

    async def wait_for_job(self, job_id: str, timeout_s: float = float("inf")) -> Job:
        """Wait until a job is done.

        Raises JobFailed when it failed or was cancelled, and TimeoutError while it goes on.
        """
        until = time.monotonic() + timeout_s
        while (job := await self.get_job(job_id)).active:
            if time.monotonic() >= until:
                raise still_active(job, timeout_s)
            await asyncio.sleep(JOB_POLL_S)
        return finished(job)

    async def send(self, call: Call[T]) -> T:
        """Send a call of `app.client.calls` and return its reply; the methods are short forms of it."""
        async with self._opened(call) as reply:
            try:
                return call.read(await reply.aread())
            except msgspec.MsgspecError as error:
                raise unknown_reply(reply, error) from error

    async def events(self, call: Call[Any]) -> AsyncGenerator[tuple[str, bytes], None]:
        """Send a call that is answered by server-sent events; yield the name and the data of each."""
        lines = EventLines()
        async with self._opened(call) as reply:
            async for line in reply.aiter_lines():
                for event in lines.add(line):
                    yield event

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def _opened(self, call: Call[Any]) -> AsyncIterator[httpx.Response]:
        """The reply to a call, before its body is read. Raises what the service tells."""
        try:
            async with AsyncExitStack() as opened:
                yield await self._answered(call, opened)
        except httpx.TransportError as error:
            raise unreachable(self._http.base_url, error) from error

    async def _answered(self, call: Call[Any], opened: AsyncExitStack) -> httpx.Response:
        headers = call.headers()
        for attempt in count(1):
            try:
                reply = await self._attempt(call, headers, opened)
            except httpx.TransportError:
                pause_s = self._retry.pause_after_break(call, attempt)
                if pause_s is None:
                    raise
            else:
                if reply.is_success:
                    return reply
                await reply.aread()
                pause_s = self._retry.pause_after_refusal(reply, attempt)
                if pause_s is None:
                    raise failure_of(reply)
            await opened.aclose()
            await asyncio.sleep(pause_s)
        raise AssertionError  # the count has no end

    async def _attempt(
        self, call: Call[Any], headers: dict[str, str], opened: AsyncExitStack
    ) -> httpx.Response:
        files = opened.enter_context(ExitStack())
        stream = self._http.stream(
            call.method, call.path, params=call.wanted(), headers=headers, **call.content(files)
        )
        return await opened.enter_async_context(stream)

    async def _pages(self, page_after: Callable[[Any], Call[PageT]]) -> AsyncIterator[PageT]:
        page = await self.send(page_after(None))
        yield page
        while page.next is not None:
            page = await self.send(page_after(page.next))
            yield page
