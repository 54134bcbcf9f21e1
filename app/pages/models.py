"""The page of models: what encodes, what answers, what else lies here, and who uses it."""

from collections import defaultdict
from typing import Any

from anyio import to_thread
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency

from app.http.access import FILTERED, principal_of
from app.pages.release_views import STATES
from app.pages.rendering import page
from app.resources import Resources
from app.services.model_shelf import ModelUse, ShelvedModel, find_models
from app.services.release_types import KEPT_STATES
from app.services.types import Principal


class ModelPages(Controller):
    """Show the models."""

    path = "/models"
    opt = {"collections": FILTERED}  # noqa: RUF012  Litestar's interface

    @get()
    async def show(
        self, request: Request[Any, Any, Any], resources: NamedDependency[Resources]
    ) -> Response[str]:
        """Every model that lies here, and the decoder of another server."""
        settings = resources.settings
        remote = None if settings.decoder_url is None else settings.decoder_model
        return page(
            request,
            "models.html",
            models=await shelved_models(resources, principal_of(request)),
            remote=remote,
            chats=resources.chat.model is not None,
            refuse_below=resources.answerer.refuse_below,
            states=STATES,
        )


async def shelved_models(resources: Resources, caller: Principal | None = None) -> tuple[ShelvedModel, ...]:
    """Every model with the releases that use it. caller: whose collections are named; None: no one's."""
    uses: dict[str, list[ModelUse]] = defaultdict(list)
    for collection in await resources.collections.list() if caller else ():
        if caller is not None and caller.may_see(collection.name):
            for release in await resources.releases.list(collection.name):
                model_id = resources.encoders.model_id(release)
                if release.state in KEPT_STATES and model_id is not None:
                    uses[model_id].append(ModelUse(collection.name, release.number, release.state))
    return await to_thread.run_sync(find_models, resources.settings, uses)
