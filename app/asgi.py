"""The composition root: settings in, application out."""

from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from litestar import Controller, Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide

from app.http.access import AccessGuard, reject_unknown_parameters
from app.http.answers import AnswerController
from app.http.classify import ClassifyController
from app.http.cohere_rerank import CohereRerankController
from app.http.collections import CollectionController
from app.http.documents import DocumentController
from app.http.feedback import FeedbackAdminController, FeedbackController
from app.http.health import HealthController
from app.http.idempotency import KeyedWrites
from app.http.jobs import IngestJobController, JobController, SnapshotJobController
from app.http.openai_chat import ChatController
from app.http.openai_completions import CompletionController
from app.http.openai_embeddings import EmbeddingController
from app.http.openai_models import ModelController
from app.http.openapi import openapi_config
from app.http.opening import Opening, ResourcesOpener, log_failure, provide_resources
from app.http.page import add_security_headers, assets_router, index
from app.http.refusals import EXCEPTION_HANDLERS
from app.http.releases import GoldenController, ReleaseController
from app.http.request import StrictRequest
from app.http.search import SearchController
from app.http.tei_embed import TEIController
from app.http.tei_info import TEIInfoController
from app.http.tei_rerank import TEIRerankController
from app.http.training import TrainingController
from app.resources import open_resources
from app.settings import Settings, load_settings


def create_app(
    settings: Settings | None = None,
    opener: ResourcesOpener | None = None,
    on_failure: Callable[[Exception], None] = log_failure,
) -> Litestar:
    """Build the application.

    settings: read from the environment when None. opener: opens and closes the resources; None: those that
    the settings name. on_failure: called when they cannot be opened.
    """
    settings = load_settings() if settings is None else settings
    opening = Opening(opener or partial(open_resources, settings), on_failure)
    return Litestar(
        route_handlers=[HealthController, _api(), *_foreign(), index, assets_router()],
        state=State({"opening": opening}),
        lifespan=[opening.lifespan],
        dependencies={"resources": Provide(provide_resources, sync_to_thread=False)},
        guards=[AccessGuard(settings.host)],
        exception_handlers=EXCEPTION_HANDLERS,
        before_send=[add_security_headers],
        request_class=StrictRequest,
        request_max_body_size=settings.max_request_bytes,
        openapi_config=openapi_config(_version()),
        logging_config=None,
    )


def _api() -> Router:
    own = [CollectionController, DocumentController, SearchController, AnswerController, ClassifyController]
    jobs = [JobController, IngestJobController, SnapshotJobController]
    releases = [ReleaseController, GoldenController]
    training = [TrainingController, FeedbackController, FeedbackAdminController]
    openai = [EmbeddingController, ModelController, ChatController, CompletionController]
    return Router(
        "/v1",
        route_handlers=[*own, *jobs, *releases, *training, *openai],
        guards=[reject_unknown_parameters],
        dependencies={"keyed": Provide(KeyedWrites().provide)},
    )


def _foreign() -> list[type[Controller]]:
    """Routes at the places where other servers' clients look for them."""
    return [TEIController, TEIInfoController, TEIRerankController, CohereRerankController]


def _version() -> str:
    try:
        return version("footnote")
    except PackageNotFoundError:  # a checkout that was not installed
        return "0"
