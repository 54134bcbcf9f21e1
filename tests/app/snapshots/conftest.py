import pytest

from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput
from app.settings import Settings

TEXTS = {
    "light": "The lighthouse stands on a rock. It was built in 1870.",
    "mayak": "Маяк стоит на скале у моря.",
    "dengta": "灯塔站在岩石上。",
    "bread": "Bread is baked from flour and water.",
}


@pytest.fixture
async def stocked(resources: Resources, notes: str) -> Resources:
    """The open service with four documents in `notes`."""
    await resources.documents.add(notes, [DocumentInput(text, name) for name, text in TEXTS.items()])
    return resources


@pytest.fixture
async def closed(settings: Settings, models: Models) -> Settings:
    """Settings of a data folder with four documents, which no process has open."""
    async with open_resources(settings, models) as resources:
        await resources.collections.create("notes")
        await resources.documents.add("notes", [DocumentInput(text, name) for name, text in TEXTS.items()])
    return settings


async def make_build(resources: Resources) -> None:
    """Make a build of what `notes` holds now."""
    await resources.indexes.follow("notes")
    (wanted,) = resources.indexes.held()
    assert await resources.builder.build(wanted)
