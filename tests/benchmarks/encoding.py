"""The bundled int8 encoder against sentence-transformers in fp32 with the same weights, on abstracts."""

import gzip
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch
from sentence_transformers import SentenceTransformer

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from training.minilm import minilm_directory

TEXTS = 256
ROUNDS = 3


def measure() -> Mapping[str, object]:
    """Tokens a second of both, their ratio round by round (median), and the time of one short query."""
    threads = os.cpu_count() or 1
    torch.set_num_threads(threads)
    texts = _texts()
    encoder = Encoder.load(BUNDLED_ENCODER, threads)
    peer = SentenceTransformer(str(minilm_directory()), device="cpu")
    peer.max_seq_length = encoder.max_tokens
    tokens = sum(min(count, encoder.max_tokens) for count in encoder.count_tokens(texts))
    ours, theirs = [], []
    for _ in range(ROUNDS + 1):  # the first round warms up
        ours.append(_seconds(lambda: encoder.encode(texts, "passage")))
        theirs.append(_seconds(lambda: peer.encode(texts, batch_size=32, normalize_embeddings=True)))
    query = [
        _seconds(lambda: encoder.encode(["how do I add a folder of documents?"], "query")) for _ in range(200)
    ]
    return {
        "threads": threads,
        "texts": len(texts),
        "tokens_per_second": round(tokens / median(ours[1:])),
        "sentence_transformers_fp32_tokens_per_second": round(tokens / median(theirs[1:])),
        "ratio": round(median(b / a for a, b in zip(ours[1:], theirs[1:], strict=True)), 2),
        "query_ms_p50": round(1000 * median(query), 2),
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _texts() -> Sequence[str]:
    """SciFact abstracts; pages of the guide, repeated, where there is no data."""
    corpus = Path(os.environ.get("FOOTNOTE_DATA", "../shared/data")) / "scifact" / "corpus.jsonl.gz"
    if corpus.is_file():
        with gzip.open(corpus, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line, _ in zip(lines, range(TEXTS), strict=False)]
        return [f"{row['title']}\n{row['text']}" for row in rows]
    pages = [path.read_text(encoding="utf-8") for path in sorted(Path("app/guide").glob("*.md"))]
    paragraphs = [paragraph for page in pages for paragraph in page.split("\n\n") if len(paragraph) > 200]
    return (paragraphs * (TEXTS // len(paragraphs) + 1))[:TEXTS]
