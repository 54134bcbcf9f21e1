from collections.abc import Sequence

import pytest

from app.db.collections import find_collection
from app.db.selection import SelectedByFilter, SelectedIds, Selection, select_keys, select_keys_again
from app.resources import Resources
from app.services.types import DocumentInput
from retrieval.filters import parse_filter


def document(name: str, colour: str) -> DocumentInput:
    return DocumentInput(f"about {name}", name, None, {"colour": colour})


@pytest.mark.parametrize(
    "selection",
    [SelectedByFilter(parse_filter({"colour": "red"})), SelectedIds(["kept", "painted", "gone", "back"])],
)
async def test_selection_again_sees_what_was_written_and_deleted_since(
    resources: Resources, notes: str, selection: Selection
) -> None:
    before = [document(name, "red") for name in ("kept", "gone", "back", "bleached")]
    await resources.documents.add(notes, [*before, document("painted", "blue")])
    async with resources.database.read() as connection:
        seen = await find_collection(connection, notes)
        keys = await select_keys(connection, seen, selection)
    await resources.documents.delete_where(notes, ids=["gone", "back"])
    await resources.documents.add(
        notes, [document("back", "red"), document("painted", "red"), document("bleached", "white")]
    )
    async with resources.database.read() as connection:
        now = await find_collection(connection, notes)
        again: Sequence[int] = (
            await select_keys_again(connection, now, selection, keys, seen.last_seq)
        ).tolist()
        assert again == (await select_keys(connection, now, selection)).tolist()
    assert len(again) == 3
