"""Collections: make, list, change and delete them."""

from collections.abc import Mapping
from typing import Any

from app.client.call import Call, given, segment
from app.client.replies import Collection, Collections


def collection_path(collection: str, rest: str = "") -> str:
    """The path of a collection, or of something in it."""
    return f"/v1/collections/{segment(collection)}{rest}"


def create_collection(name: str, settings: Mapping[str, Any] | None = None) -> Call[Collection]:
    """Make an empty collection. settings: those that shall not be as usual. Raises Conflict for a taken
    name.
    """
    body = given(name=name, settings=settings)
    return Call("POST", "/v1/collections", Collection, body=body, keyed=True)


def list_collections() -> Call[Collections]:
    """All collections that the key may see."""
    return Call("GET", "/v1/collections", Collections)


def get_collection(name: str) -> Call[Collection]:
    """One collection with its settings and counts."""
    return Call("GET", collection_path(name), Collection)


def update_collection(name: str, settings: Mapping[str, Any]) -> Call[Collection]:
    """Change the given settings."""
    body = {"settings": settings}
    return Call("PATCH", collection_path(name), Collection, body=body, keyed=True)


def delete_collection(name: str) -> Call[None]:
    """Delete a collection with everything in it, for good."""
    return Call("DELETE", collection_path(name), type(None), keyed=True)
