"""The service over HTTP, as the tests of tests/app/http have it."""

from tests.app.http.conftest import (  # noqa: F401  # fixtures
    admin,
    application,
    client,
    garden,
    keys,
    models,
    post,
    reader,
)
