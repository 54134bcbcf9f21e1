"""Text Embeddings Inference's /info and /health."""

from typing import Any

from litestar import Controller, Request, get
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.enums import MediaType

from app.http.access import NO_COLLECTIONS, PUBLIC
from app.http.embedding_input import MAX_INPUTS
from app.http.foreign_errors import tei_responses
from app.http.tei_schemas import EmbeddingModel, Info, ModelType
from app.resources import Resources


class TEIInfoController(Controller):
    """What serves, and whether it can."""

    path = "/"
    tags = ("Text Embeddings Inference",)
    opt = {"collections": NO_COLLECTIONS}  # noqa: RUF012  Litestar's interface

    @get("/info", summary="Show the encoder and its limits", responses=tei_responses())
    async def show_info(self, request: Request[Any, Any, Any], resources: NamedDependency[Resources]) -> Info:
        """The encoder in service, with the limits that hold for every request."""
        encoder, engine = resources.models.encoder, resources.encoding.engine
        manifest = encoder.manifest
        config, settings = request.app.openapi_config, resources.settings
        return Info(
            model_id=encoder.model_id,
            model_sha=manifest.files[manifest.weights].sha256,
            model_dtype=manifest.precision,
            served_model_name=manifest.name,
            model_type=ModelType(EmbeddingModel(encoder.spec.pooling)),
            max_concurrent_requests=min(settings.max_waiting_queries, settings.max_in_flight_searches),
            max_input_length=encoder.max_tokens,
            max_batch_tokens=engine.batch_tokens,
            max_client_batch_size=MAX_INPUTS,
            tokenization_workers=engine.workers,
            version=config.version if config else "0",
        )

    @get(
        "/health",
        opt={"scope": PUBLIC},
        media_type=MediaType.TEXT,
        summary="Can it embed?",
        responses=tei_responses(),
    )
    async def show_health(self, state: State) -> None:
        """200 without a body once the encoder is open; 503 before, and when the service is about to stop."""
        state.opening.check_ready()
