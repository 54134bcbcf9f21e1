import subprocess
import sys
from pathlib import Path

import pytest

from app.db.idempotency import Answer, find_answer
from app.resources import Models, open_resources
from app.services.types import SearchInput
from app.settings import Settings
from retrieval.types import SearchMode
from tests.app.keyed_writer import keyed_request

REPOSITORY = Path(__file__).parents[2]


def kill_after(lines: int, command: list[str]) -> list[list[str]]:
    """Run a command until it has said that many lines, kill it, and return all that it said, in words."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        said = [process.stdout.readline().split() for _ in range(lines)]
        process.kill()
        return said + [line.split() for line in process.stdout]


@pytest.mark.parametrize("lines", [1, 17])
async def test_kill_loses_nothing_acknowledged_and_brings_nothing_deleted_back(
    lines: int, settings: Settings, models: Models
) -> None:
    command = [
        sys.executable,
        "-m",
        "tests.app.acknowledging_writer",
        str(settings.home),
        str(models.tokenizer),
    ]
    acknowledged = kill_after(lines, command)
    added = {number for action, number in acknowledged if action == "added"}
    deleted = {number for action, number in acknowledged if action == "deleted"}
    assert len(added) >= 1
    async with open_resources(settings, models) as resources:
        stored = {document.id for document in (await resources.documents.list("notes", 1000)).documents}
        found = await resources.search.search("notes", SearchInput("text number", SearchMode.LEXICAL, 1000))
        missing, returned = (added - deleted) - stored, deleted & stored
        # The delete of the last one may have been committed and not been acknowledged any more.
        assert missing <= {str(max(map(int, added)))}
        assert returned == set()
        assert {hit.document_id for hit in found.hits} == stored


@pytest.mark.parametrize("lines", [3, 14])
async def test_kill_keeps_each_answer_with_its_write_or_neither(
    lines: int, settings: Settings, models: Models
) -> None:
    command = [sys.executable, "-m", "tests.app.keyed_writer", str(settings.home), str(models.tokenizer)]
    acknowledged = {number for _, number in kill_after(lines, command)}
    async with open_resources(settings, models) as resources:
        stored = {document.id for document in (await resources.documents.list("notes", 1000)).documents}
        async with resources.database.read() as connection:
            kept = {
                number: await find_answer(connection, keyed_request(number))
                for number in range(1, 20 + max(map(int, acknowledged)))
            }
    answered = {str(number) for number, answer in kept.items() if answer is not None}
    assert acknowledged <= answered
    assert answered == stored
    assert {answer.answer for answer in kept.values() if answer} == {Answer(200, b"created")}
