"""The API's description and the page that shows it. Its assets are our own files: nothing is loaded from
elsewhere.
"""

from dataclasses import fields
from typing import Any

from litestar import Request, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Components, License, OpenAPI, SecurityScheme, Tag

from app.http.access import PUBLIC
from app.http.openapi_examples import add_examples
from app.http.page import WEB

DESCRIPTION = """\
Semantic search and question answering with footnotes.

Offsets are Unicode code points into the stored text of a document version, half-open. Every failure is a
problem-details object (RFC 9457) that says what was found, what is expected and what to do next; routes that
other servers' clients call answer in those servers' form. Reading is open while the service listens on
loopback; writing needs a key. Searches, answers and text tasks may be given less time with the header
`X-Request-Timeout-S` (seconds). A reply of status 429 says in `Retry-After` when to come back.
"""

TAGS = [
    Tag("Collections", "Documents that are searched together"),
    Tag("Documents", "What a collection holds"),
    Tag("Search", "Passages by meaning and by words"),
    Tag("Answer", "Answers with footnotes"),
    Tag("Training", "A better encoder from documents, examples and feedback"),
    Tag("Text tasks", "Labels for texts, and how alike texts are"),
    Tag("Releases", "What a collection serves: change it without a pause, and go back"),
    Tag("Jobs", "Long work with progress, done by a worker process"),
    Tag("OpenAI", "Embeddings and models, for OpenAI's clients"),
    Tag("Text Embeddings Inference", "Embeddings, for the clients of Hugging Face's server"),
    Tag("Rerank", "Relevance of texts, for the clients of Cohere and of Hugging Face's server"),
    Tag("Watching", "Metrics and figures, for operators"),
    Tag("Health", "For supervisors and load balancers"),
]


class VendoredSwaggerPlugin(OpenAPIRenderPlugin):
    """Swagger UI from app/web/vendor."""

    def __init__(self) -> None:
        super().__init__(path="/swagger")
        self._page = (WEB / "swagger.html").read_bytes()

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        """The page; its script fetches /schema/openapi.json."""
        return self._page


class ExampledOpenAPI(OpenAPI):
    """The description with an example for each operation."""

    def to_schema(self) -> dict[str, Any]:
        """The document; the examples are written into it when it is first asked for."""
        schema = super().to_schema()
        add_examples(schema)
        return schema


class ExampledOpenAPIConfig(OpenAPIConfig):
    """Litestar's own, which has no place for examples of whole requests."""

    def to_openapi_schema(self) -> ExampledOpenAPI:
        """The description before Litestar adds the paths."""
        plain = super().to_openapi_schema()
        return ExampledOpenAPI(**{field.name: getattr(plain, field.name) for field in fields(plain)})


def openapi_config(version: str) -> OpenAPIConfig:
    """How the API describes itself. version: of Footnote."""
    key = SecurityScheme(type="http", scheme="bearer", description="A key: fn_...")
    return ExampledOpenAPIConfig(
        title="Footnote",
        version=version,
        description=DESCRIPTION,
        license=License(name="Apache-2.0", identifier="Apache-2.0"),
        components=Components(security_schemes={"key": key}),
        security=[{"key": []}, {}],
        tags=TAGS,
        openapi_router=Router("/schema", route_handlers=[], include_in_schema=False, opt={"scope": PUBLIC}),
        render_plugins=[VendoredSwaggerPlugin()],
        use_handler_docstrings=True,
        operation_id_creator=lambda handler, _method, _path: handler.handler_name,
    )
