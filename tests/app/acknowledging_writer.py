"""A process that writes until it is killed, and says what was acknowledged: `python -m ... HOME
TOKENIZER`."""

import asyncio
import sys
from pathlib import Path

from app.resources import Models, open_resources
from app.services.types import DocumentInput
from app.settings import Settings
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder


async def write_forever(home: Path, tokenizer: Path) -> None:
    models = Models(HashingEncoder(), tokenizer, Answerer(None, refuse_below=0.0))
    async with open_resources(Settings(home=home), models) as resources:
        await resources.collections.create("notes")
        number = 0
        while True:
            number += 1
            await resources.documents.add(
                "notes", [DocumentInput(f"Text number {number}. " * 50, str(number))]
            )
            print("added", number, flush=True)
            if number % 3 == 0:
                await resources.documents.delete("notes", str(number))
                print("deleted", number, flush=True)


if __name__ == "__main__":
    asyncio.run(write_forever(Path(sys.argv[1]), Path(sys.argv[2])))
