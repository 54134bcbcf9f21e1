"""Routes for feedback: applications send it, administrators look at it."""

from typing import Annotated

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from app.http.collections import CollectionName
from app.http.feedback_schemas import FeedbackList, FeedbackReply, NewFeedback
from app.http.problems import problem_responses
from app.resources import Resources
from app.services.feedback_types import FeedbackKind
from app.services.types import Scope

FeedbackId = Annotated[int, PathParameter(description="Id of the verdict")]
WantedKind = Annotated[FeedbackKind | None, QueryParameter(description="Only verdicts of this kind")]
Limit = Annotated[int, QueryParameter(description="How many, from 1 to 1000")]
After = Annotated[int | None, QueryParameter(description="`next` of the page before")]


class FeedbackController(Controller):
    """What people thought of what was found; a training learns from it."""

    path = "/collections/{name:str}/feedback"
    tags = ("Training",)

    @post(
        scope=Scope.WRITE,
        summary="Say whether a document helped",
        responses=problem_responses(404, 413, 415),
    )
    async def add_feedback(
        self, name: CollectionName, data: JSONBody[NewFeedback], resources: NamedDependency[Resources]
    ) -> FeedbackReply:
        """Keep what somebody thought of a document that was found. The same verdict again is kept once. It
        goes when its document is deleted.
        """
        return FeedbackReply.of(await resources.feedback.add(name, data.to_input()))


class FeedbackAdminController(Controller):
    """Look at feedback, and remove it."""

    path = "/admin/collections/{name:str}/feedback"
    tags = ("Training",)

    @get(scope=Scope.ADMIN, summary="List the feedback", responses=problem_responses(404))
    async def list_feedback(
        self,
        name: CollectionName,
        resources: NamedDependency[Resources],
        kind: WantedKind = None,
        limit: Limit = 100,
        after: After = None,
    ) -> FeedbackList:
        """One page of verdicts, the oldest first."""
        return FeedbackList.of(await resources.feedback.list(name, limit, after, kind))

    @delete(
        "/{feedback_id:int}", scope=Scope.ADMIN, summary="Remove feedback", responses=problem_responses(404)
    )
    async def remove_feedback(
        self, name: CollectionName, feedback_id: FeedbackId, resources: NamedDependency[Resources]
    ) -> None:
        """Remove one verdict."""
        await resources.feedback.remove(name, feedback_id)
