"""The composition root: settings in, application out."""

from collections.abc import Callable
from functools import partial

from litestar import Controller, Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide

from app.http.access import AccessGuard, reject_unknown_parameters
from app.http.answers import AnswerController
from app.http.classify import ClassifyController
from app.http.cohere_rerank import CohereRerankController
from app.http.collections import CollectionController
from app.http.conversations import ConversationController
from app.http.deadlines import Deadlines
from app.http.documents import DocumentController
from app.http.feedback import FeedbackAdminController, FeedbackController
from app.http.health import HealthController
from app.http.idempotency import KeyedWrites
from app.http.jobs import IngestJobController, JobController, SnapshotJobController
from app.http.limits import RateLimits, add_rate_limit_headers
from app.http.limits_connections import SlowConnections
from app.http.limits_in_flight import InFlight
from app.http.live import LimitReader
from app.http.mapping import MapController
from app.http.metrics import MetricsController
from app.http.openai_chat import ChatController
from app.http.openai_completions import CompletionController
from app.http.openai_embeddings import EmbeddingController
from app.http.openai_models import ModelController
from app.http.openapi import openapi_config
from app.http.opening import Opening, ResourcesOpener, log_failure, provide_resources
from app.http.page import add_security_headers, assets_router
from app.http.refusals import EXCEPTION_HANDLERS
from app.http.releases import GoldenController, ReleaseController
from app.http.request import StrictRequest
from app.http.search import SearchController
from app.http.stats import StatsController
from app.http.tei_embed import TEIController
from app.http.tei_info import TEIInfoController
from app.http.tei_rerank import TEIRerankController
from app.http.training import TrainingController
from app.http.watching import Watching
from app.overload import Admission
from app.pages.routes import page_handlers
from app.resources import open_resources
from app.settings import Settings, load_settings
from app.version import installed_version


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
    admission, deadlines = Admission(settings), Deadlines(settings.request_timeout_s)
    rate_limits, slow_connections = RateLimits(settings.rate_limit_per_minute), SlowConnections()
    limits = {
        "admission": admission,
        "deadlines": deadlines,
        "rate_limits": rate_limits,
        "slow_connections": slow_connections,
    }
    limited = LimitReader(admission, rate_limits, deadlines, slow_connections)
    watching = Watching(installed_version(), opening, limited)
    application = Litestar(
        route_handlers=[HealthController, _api(), *_foreign(), *page_handlers(), assets_router()],
        state=State({"opening": opening, "metrics": watching.metrics, "live": watching.live, **limits}),
        lifespan=[opening.lifespan, admission.lifespan, watching.lifespan],
        dependencies={"resources": Provide(provide_resources, sync_to_thread=False)},
        guards=[AccessGuard(settings.host), rate_limits],
        middleware=[InFlight(admission), deadlines],
        exception_handlers=EXCEPTION_HANDLERS,
        before_send=[add_security_headers, add_rate_limit_headers],
        request_class=StrictRequest,
        request_max_body_size=settings.max_request_bytes,
        openapi_config=openapi_config(installed_version()),
        logging_config=None,
    )
    return watching.around(application)


def _api() -> Router:
    own = [CollectionController, DocumentController, SearchController, AnswerController, ClassifyController]
    own += [ConversationController, StatsController, MapController]
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
    return [MetricsController, TEIController, TEIInfoController, TEIRerankController, CohereRerankController]
