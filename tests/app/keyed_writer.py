"""A process that makes keyed writes until it is killed, and says what was acknowledged: `python -m ... HOME
TOKENIZER`."""

import asyncio
import sys
from itertools import count
from pathlib import Path

from app.db.idempotency import Answer, KeyedRequest
from app.resources import Models, open_resources
from app.services.receipts import Receipt
from app.services.types import DocumentInput, ItemResult
from app.settings import Settings
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder


def keyed_request(number: int) -> KeyedRequest:
    return KeyedRequest("1 POST /v1/collections/notes/documents", str(number), f"{number:064}")


def render(results: tuple[ItemResult, ...]) -> Answer:
    return Answer(200, str(results[0].status).encode())


async def write_forever(home: Path, tokenizer: Path) -> None:
    models = Models(HashingEncoder(), tokenizer, Answerer(None, refuse_below=0.0))
    async with open_resources(Settings(home=home, threads=1), models) as resources:
        await resources.collections.create("notes")

        async def write(number: int) -> None:
            receipt = Receipt(keyed_request(number), render)
            await resources.documents.add("notes", [DocumentInput(f"Note {number}.", str(number))], receipt)
            print("added", number, flush=True)

        for first in count(1, 4):
            await asyncio.gather(*(write(number) for number in range(first, first + 4)))


if __name__ == "__main__":
    asyncio.run(write_forever(Path(sys.argv[1]), Path(sys.argv[2])))
