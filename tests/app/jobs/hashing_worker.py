"""A worker whose encoder takes no time, as a process. It dies of the word poison, and of calling anybody. Its
trainings are those of the stub:

python -m tests.app.jobs.hashing_worker HOME [--child] [--database URL] [--lease SECONDS]
"""

import logging
import os
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from app.db.leases import LEASE_S
from app.encoders import LoadedEncoder
from app.jobs import claims, trainer, worker
from app.jobs.kinds import FUNCTIONS
from app.jobs.service import TRAIN
from app.jobs.training import train_encoder
from app.jobs.worker import run_worker
from app.resources import Models, open_resources
from app.settings import Settings
from embeddings.tokens import Keep, TokenizedText
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer


class MortalEncoder(HashingEncoder):
    """As a parser that crashes the process would."""

    def tokenize(self, texts: Sequence[str], prompt: str, keep: Keep) -> list[TokenizedText]:
        if any("poison" in text for text in texts):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().tokenize(texts, prompt, keep)


def die_of_a_call(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: a host and a port are a tuple, the socket of another process here is a path."""
    if event in {"socket.connect", "socket.getaddrinfo"} and not isinstance(arguments[1], str | bytes):
        os._exit(99)


if __name__ == "__main__":
    sys.addaudithook(die_of_a_call)
    logging.basicConfig(level=logging.WARNING)
    parser = ArgumentParser()
    parser.add_argument("home", type=Path)
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--database")
    parser.add_argument("--lease", type=float, default=LEASE_S)
    arguments = parser.parse_args()
    tokenizer = write_word_tokenizer(arguments.home.parent)
    trainer.NICENESS = worker.NICENESS = 0  # tests wait for it
    for name, seconds in (("LEASE_S", arguments.lease), ("RENEW_S", arguments.lease / 5)):
        setattr(claims, name, seconds)
    FUNCTIONS[TRAIN] = partial(train_encoder, module="tests.app.jobs.stub_trainer")

    def load(folder: Path) -> LoadedEncoder:
        return LoadedEncoder(HashingEncoder(f"{folder.name}@1", dimension=48), tokenizer)

    models = Models(MortalEncoder(), tokenizer, Answerer(None, refuse_below=0.0), load)
    settings = Settings(home=arguments.home, threads=1, busy_timeout_s=10, database_url=arguments.database)
    run_worker(settings, partial(open_resources, settings, models), child=arguments.child)
