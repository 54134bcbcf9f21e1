"""The Kubernetes manifests against the schemas of Kubernetes itself, with nothing unknown in them."""

import os
from typing import Any

import pytest

from tests.app.recipes import manifests

VERSIONS = ("1.29", "1.34")  # the oldest that is likely met, and a recent one

pytestmark = pytest.mark.skipif(
    not os.environ.get("FOOTNOTE_ENGINE_TESTS"), reason="needs the schemas: run `make test-engines`"
)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("each", manifests(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_accepts_the_object(each: dict[str, Any], version: str) -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    schemas.validate(each, version, strict=True)
