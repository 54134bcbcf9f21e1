"""A worker whose encoder takes no time, as a process: python -m tests.app.jobs.hashing_worker HOME"""

import logging
import sys
from functools import partial
from pathlib import Path

from app.jobs.worker import run_worker
from app.resources import Models, open_resources
from app.settings import Settings
from generation.answering import Answerer
from tests.app.hashing_encoder import HashingEncoder, write_word_tokenizer

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    home = Path(sys.argv[1])
    tokenizer = write_word_tokenizer(home.parent)
    models = Models(HashingEncoder(), tokenizer, Answerer(None, refuse_below=0.0))
    settings = Settings(home=home, threads=1, busy_timeout_s=10)
    run_worker(settings, partial(open_resources, settings, models), child="--child" in sys.argv)
