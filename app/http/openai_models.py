"""OpenAI's list of models: what serves here, by the ids that other routes take."""

from pathlib import Path
from typing import Annotated, Any

from litestar import Controller, Request, get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from app.http.access import FILTERED, principal_of
from app.http.foreign_errors import openai_responses
from app.http.openai_schemas import ModelList, ServedModel
from app.resources import Resources
from app.services.chat import no_chat_model
from app.services.types import Principal
from embeddings.artifact import MANIFEST
from embeddings.errors import NotFound

OWNER = "footnote"
# The model `footnote:notes` answers from the collection `notes`.
COLLECTION_PREFIX = "footnote:"
_NAMED_MODELS = 5

ModelId = Annotated[str, PathParameter(description="Full id of a model, or its part before `@`")]


class ModelNotFound(NotFound):
    code = "model_not_found"


class ModelController(Controller):
    """Which models serve."""

    path = "/models"
    tags = ("OpenAI",)
    opt = {"collections": FILTERED}  # noqa: RUF012  Litestar's interface

    @get("/", summary="List the models", responses=openai_responses(400))
    async def list_models(
        self, request: Request[Any, Any, Any], resources: NamedDependency[Resources]
    ) -> ModelList:
        """The encoder, the decoder where there is one, and each collection as a model that answers."""
        return ModelList("list", await served_models(resources, principal_of(request)))

    @get("/{model_id:path}", summary="Show a model", responses=openai_responses(400, 404))
    async def show_model(
        self,
        request: Request[Any, Any, Any],
        model_id: ModelId,
        resources: NamedDependency[Resources],
    ) -> ServedModel:
        """One model in service."""
        models = {model.id: model for model in await served_models(resources, principal_of(request))}
        return models[resolve(model_id.strip("/"), list(models))]


def resolve(wanted: str, served: list[str]) -> str:
    """The full id among `served` for a full id or its part before `@`. Raises ModelNotFound."""
    found = next((model_id for model_id in served if wanted in {model_id, model_id.partition("@")[0]}), None)
    if found is None:
        raise ModelNotFound(
            f"The model `{wanted:.200}` does not exist here",
            field="model",
            found=wanted[:200],
            expected=_in_words(served),
            next_step="see GET /v1/models",
        )
    return found


def _in_words(served: list[str]) -> str:
    named = " or ".join(served[:_NAMED_MODELS])
    rest = len(served) - _NAMED_MODELS
    return f"{named} or one of {rest} more" if rest > 0 else named


def resolve_chat_model(wanted: str, resources: Resources) -> str:
    """The full id of the decoder that chats. Raises ModelNotFound, and NoChatModel where the installed
    decoder can only copy.
    """
    if resources.chat.model is not None:
        return resolve(wanted, [resources.chat.model.model_id])
    if resources.reader is not None:
        resolve(wanted, [resources.reader.model_id, f"{COLLECTION_PREFIX}COLLECTION"])
    raise no_chat_model()


async def served_models(resources: Resources, caller: Principal) -> list[ServedModel]:
    """The models in service that the caller may use, the encoder first."""
    encoder, settings = resources.models.encoder, resources.settings
    served = ServedModel(
        id=encoder.model_id,
        created=_installed_at(settings.encoder),
        owned_by=OWNER,
        kind="encoder",
        dimensions=[encoder.dimension, *encoder.spec.matryoshka_dimensions],
        max_tokens=encoder.max_tokens,
    )
    return [served, *_served_decoder(resources), *await _served_collections(resources, caller)]


def _served_decoder(resources: Resources) -> list[ServedModel]:
    reader = resources.reader
    if reader is None:
        return []
    settings = resources.settings
    created = _installed_at(settings.decoder) if settings.decoder_url is None else 0  # it is not here
    return [ServedModel(id=reader.model_id, created=created, owned_by=OWNER, kind="decoder")]


async def _served_collections(resources: Resources, caller: Principal) -> list[ServedModel]:
    """For programs whose users can choose nothing but a model."""
    return [
        ServedModel(
            id=COLLECTION_PREFIX + collection.name,
            created=int(collection.created_at.timestamp()),
            owned_by=OWNER,
            kind="collection",
        )
        for collection in await resources.collections.list()
        if caller.may_see(collection.name)
    ]


def _installed_at(folder: Path) -> int:
    """Unix seconds. A manifest does not say when a model was made; its file says since when it is here."""
    return int((folder / MANIFEST).stat().st_mtime)
