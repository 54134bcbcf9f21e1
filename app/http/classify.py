"""The routes of the text tasks: labels for texts, and how alike texts are."""

from typing import Any

from anyio import to_thread
from litestar import Controller, Request, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from app.http.access import NO_COLLECTIONS
from app.http.classify_schemas import (
    ClassifierList,
    ClassifierReply,
    ClassifyReply,
    ClassifyRequest,
    CompareReply,
    CompareRequest,
)
from app.http.disconnect import while_connected
from app.http.embedding_input import MAX_INPUTS, read_texts
from app.http.problems import problem_responses
from app.resources import Resources
from app.services.classification import Example
from app.services.types import Scope
from embeddings.errors import InvalidInput
from retrieval.grouping import nearest_neighbours


class ClassifyController(Controller):
    """Labels for texts, and how alike texts are."""

    path = "/"
    tags = ("Text tasks",)
    opt = {"collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @post(
        "/classify",
        scope=Scope.READ,
        status_code=200,
        summary="Classify texts",
        responses=problem_responses(404, 415, 429),
    )
    async def classify(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[ClassifyRequest],
        resources: NamedDependency[Resources],
    ) -> ClassifyReply:
        """The likeliest labels of each text: by a classifier, or from examples that come with the request."""
        texts = read_texts("inputs", data.inputs if isinstance(data.inputs, str) else [*data.inputs])
        service = resources.classification
        if (data.classifier is None) == (data.examples is None):
            raise _one_of_both(data)
        if data.classifier is not None:
            work = service.classify(data.classifier, texts, data.top)
        else:
            work = service.classify_like(_examples(data), texts, data.top)
        return ClassifyReply.of(await while_connected(request, work))

    @get("/classifiers", summary="List the classifiers", responses=problem_responses())
    async def list_classifiers(self, resources: NamedDependency[Resources]) -> ClassifierList:
        """What `footnote train classifier` has made, with its labels and figures."""
        return ClassifierList([ClassifierReply.of(each) for each in await resources.classification.list()])

    @post(
        "/similarity",
        scope=Scope.READ,
        status_code=200,
        summary="Find texts that are alike",
        responses=problem_responses(415, 429),
    )
    async def find_alike(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[CompareRequest],
        resources: NamedDependency[Resources],
    ) -> CompareReply:
        """For each input the texts that mean most nearly the same, among the candidates or the inputs."""
        inputs = read_texts("inputs", data.inputs if isinstance(data.inputs, str) else [*data.inputs])
        others = _candidates(data)
        work = resources.encoding.embed([*inputs, *others], truncate=True)
        embedded = await while_connected(request, work)
        count = len(inputs)
        found = await to_thread.run_sync(
            nearest_neighbours,
            embedded.vectors[:count],
            embedded.vectors[count:] if data.candidates is not None else None,
            data.limit,
            data.min_score,
        )
        cut = list(embedded.truncated)
        return CompareReply.of(resources.models.encoder.model_id, found, cut[:count], cut[count:])


def _candidates(data: CompareRequest) -> list[str]:
    given = data.candidates
    if given is None:
        return []
    return read_texts("candidates", given if isinstance(given, str) else [*given])


def _examples(data: ClassifyRequest) -> list[Example]:
    """Raises InvalidInput for too many or a blank one."""
    examples = data.examples or []
    if not examples:
        return []
    texts = read_texts("examples", [each.text for each in examples], MAX_INPUTS)
    return [Example(text, each.label) for text, each in zip(texts, examples, strict=True)]


def _one_of_both(data: ClassifyRequest) -> InvalidInput:
    return InvalidInput(
        "a request names a classifier or brings examples, one of the two",
        field="classifier",
        found="neither" if data.classifier is None else "both",
        expected="`classifier`, or `examples`",
        next_step="see GET /v1/classifiers for the names",
    )
