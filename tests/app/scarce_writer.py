"""A process whose means are cut while it writes: `python -m ... HOME TOKENIZER file-size|open-files`.

It adds documents until a write is refused, gets its means back, adds one more, and says what happened, a line
for each: `added ID`, `refused CODE`, `recovered ID`.
"""

import asyncio
import resource
import sys
from pathlib import Path

from app.resources import Models, Resources, open_resources
from app.services.types import DocumentInput
from app.settings import Settings
from embeddings.errors import FootnoteError
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder

LIMITS = {"file-size": resource.RLIMIT_FSIZE, "open-files": resource.RLIMIT_NOFILE}
TEXT = "A long note about nothing at all. " * 500


async def write_until_refused(home: Path, tokenizer: Path, limit: str) -> None:
    models = Models(HashingEncoder(), tokenizer, Answerer(None, refuse_below=0.0))
    async with open_resources(Settings(home=home, threads=1), models) as resources:
        await resources.collections.create("notes")
        before = resource.getrlimit(LIMITS[limit])
        await resources.database.close()  # so that files have to be opened again
        resource.setrlimit(LIMITS[limit], (_scarce(resources, limit), before[1]))
        number = await _add_until_refused(resources)
        resource.setrlimit(LIMITS[limit], before)
        await _add(resources, number)
        print("recovered", number, flush=True)


def _scarce(resources: Resources, limit: str) -> int:
    if limit == "open-files":
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    return (resources.settings.home / "footnote.db").stat().st_size + 200_000


async def _add_until_refused(resources: Resources) -> int:
    for number in range(1, 1000):
        try:
            await _add(resources, number)
        except FootnoteError as error:
            print("refused", error.code, flush=True)
            return number
        print("added", number, flush=True)
    raise AssertionError("nothing was refused")


async def _add(resources: Resources, number: int) -> None:
    (result,) = await resources.documents.add("notes", [DocumentInput(f"{number} {TEXT}", str(number))])
    assert result.error is None


if __name__ == "__main__":
    asyncio.run(write_until_refused(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
