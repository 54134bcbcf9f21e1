"""The playground: how the sampling settings change what the decoder in service writes."""

from functools import partial
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Stream
from msgspec import Meta

from app.db.collections import no_such_collection
from app.http.access import FILTERED, principal_of
from app.http.answer_stream import encode_event
from app.http.disconnect import while_connected
from app.http.event_stream import EventStream
from app.http.openai_chat_sampling import SamplingFields, in_wire_names, read_sampling
from app.http.problems import Problem
from app.overload import Load
from app.pages.playground_events import event_of
from app.pages.playground_settings import setting_groups
from app.pages.rendering import markup, page
from app.resources import Resources
from app.services.playground import PlaygroundEvent, PlaygroundInput, PromptKind
from app.services.types import Scope
from retrieval.types import SearchMode

PageRequest = Request[Any, Any, Any]
LONGEST = 128  # tokens, where a request does not say


class PlaygroundRequest(SamplingFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prompt and how to go on from it."""

    kind: PromptKind
    prompt: str
    system: str = ""
    collection: str | None = None
    text: str = ""
    passages: int = 5
    mode: SearchMode = SearchMode.HYBRID
    logprobs: Annotated[int, Meta(description="Alternatives told with each token", ge=1, le=20)] = 5

    def to_input(self) -> PlaygroundInput:
        """The same for the service. Raises InvalidInput for a value out of range."""
        logprobs = None if self.use_beam_search else self.logprobs
        sampling = read_sampling(self, self.max_tokens or LONGEST, logprobs)
        return PlaygroundInput(
            self.kind,
            self.prompt,
            sampling,
            self.system,
            self.collection,
            self.text,
            self.passages,
            self.mode,
        )


class PlaygroundPages(Controller):
    """Try prompts and settings."""

    path = "/playground"
    opt = {"collections": FILTERED}  # noqa: RUF012  Litestar's interface

    @get("/", scope=Scope.READ)
    async def playground_page(
        self, request: PageRequest, resources: NamedDependency[Resources]
    ) -> Response[str]:
        """The page. Its script reads prompt and settings from the address and runs them."""
        principal, service = principal_of(request), resources.playground
        collections = [info for info in await resources.collections.list() if principal.may_see(info.name)]
        return page(
            request,
            "playground.html",
            decoder=service.decoder,
            kinds=service.kinds,
            copies="text" in service.kinds,
            groups=setting_groups(service.unhonoured, resources.chat.defaults),
            collections=collections,
        )

    @post("/runs", scope=Scope.READ, load=Load.ANSWER, status_code=200)
    async def run(
        self,
        request: PageRequest,
        data: JSONBody[PlaygroundRequest],
        resources: NamedDependency[Resources],
    ) -> Stream:
        """Run one prompt: server-sent events with JSON. Closing the connection stops the decoder."""
        asked = data.collection
        if data.kind == "collection" and not (asked and principal_of(request).may_see(asked)):
            raise no_such_collection(asked or "")
        with in_wire_names({"alternatives": "logprobs"}):
            wanted = data.to_input()
            stream = EventStream[PlaygroundEvent](
                resources.playground.run(wanted), _encode, partial(_encode_failure, request)
            )
            return await while_connected(request, stream.respond())


def _encode(event: PlaygroundEvent) -> bytes:
    return encode_event(*event_of(event))


def _encode_failure(request: PageRequest, problem: Problem) -> bytes:
    return encode_event("error", markup(request, "fragments/problem.html", problem=problem))
