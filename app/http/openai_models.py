"""OpenAI's list of models: what serves here, by the ids that other routes take."""

from pathlib import Path
from typing import Annotated

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from app.http.foreign_errors import openai_responses
from app.http.openai_schemas import ModelList, ServedModel
from app.resources import Resources
from embeddings.artifact import MANIFEST
from embeddings.errors import NotFound

OWNER = "footnote"

ModelId = Annotated[str, PathParameter(description="Full id of a model, or its part before `@`")]


class ModelNotFound(NotFound):
    code = "model_not_found"


class ModelController(Controller):
    """Which models serve."""

    path = "/models"
    tags = ("OpenAI",)

    @get("/", summary="List the models", responses=openai_responses(400))
    async def list_models(self, resources: NamedDependency[Resources]) -> ModelList:
        """The encoder, and the decoder where there is one."""
        return ModelList("list", served_models(resources))

    @get("/{model_id:path}", summary="Show a model", responses=openai_responses(400, 404))
    async def show_model(self, model_id: ModelId, resources: NamedDependency[Resources]) -> ServedModel:
        """One model in service."""
        models = {model.id: model for model in served_models(resources)}
        return models[resolve(model_id.strip("/"), list(models))]


def resolve(wanted: str, served: list[str]) -> str:
    """The full id among `served` for a full id or its part before `@`. Raises ModelNotFound."""
    found = next((model_id for model_id in served if wanted in {model_id, model_id.partition("@")[0]}), None)
    if found is None:
        raise ModelNotFound(
            f"The model `{wanted}` does not exist here",
            field="model",
            found=wanted,
            expected=" or ".join(served),
            next_step="see GET /v1/models",
        )
    return found


def served_models(resources: Resources) -> list[ServedModel]:
    """The models in service, the encoder first."""
    encoder, reader, settings = resources.models.encoder, resources.reader, resources.settings
    served = ServedModel(
        id=encoder.model_id,
        created=_installed_at(settings.encoder),
        owned_by=OWNER,
        kind="encoder",
        dimensions=[encoder.dimension, *encoder.spec.matryoshka_dimensions],
        max_tokens=encoder.max_tokens,
    )
    if reader is None:
        return [served]
    created = _installed_at(settings.decoder)
    return [served, ServedModel(id=reader.model_id, created=created, owned_by=OWNER, kind="decoder")]


def _installed_at(folder: Path) -> int:
    """Unix seconds. A manifest does not say when a model was made; its file says since when it is here."""
    return int((folder / MANIFEST).stat().st_mtime)
