"""What decoders are asked: prompts of an exact length, questions with passages, and a load that arrives."""

import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from generation.causal.chat_template import ChatTemplate
from generation.causal.prompt_template import shipped_prompt
from generation.causal.prompting import build_chat_prompt
from generation.sentences import split_sentences
from generation.types import Passage
from tests.benchmarks.peers.decoder_contract import Arrival

SEED = 20_261_121
RAG_TOKENS = 700  # what a prompt may take, so that it and an answer fit a slot of the benchmark's engine
ANSWER_TOKENS = 64


@dataclass(frozen=True, slots=True)
class RagRecord:
    """A question with passages as token ids, and the text to copy: sentences from where the answer stands."""

    prompt: list[int]
    answer: list[int]
    passages: list[str]


def read_questions(folder: Path, name: str = "squad/dev.jsonl.gz") -> Iterator[Mapping[str, Any]]:
    """The answerable questions of a file in SQuAD's form."""
    with gzip.open(folder / name, "rt", encoding="utf-8") as lines:
        yield from (row for row in map(json.loads, lines) if row["answers"])


def exact_prompts(tokenizer: Tokenizer, folder: Path, count: int, tokens: int) -> list[list[int]]:
    """Prompts of exactly so many tokens: passages one after the other, cut, none twice."""
    contexts = dict.fromkeys(str(row["context"]) for row in read_questions(folder, "squad/train.jsonl.gz"))
    prompts: list[list[int]] = []
    ids: list[int] = []
    for context in contexts:
        ids += tokenizer.encode(context + "\n\n").ids
        if len(ids) >= tokens:
            prompts.append(ids[:tokens])
            ids = []
        if len(prompts) == count:
            return prompts
    raise ValueError(f"the data holds {len(prompts)} prompts of {tokens} tokens, expected {count}")


def rag_records(tokenizer: Tokenizer, template: ChatTemplate, folder: Path, count: int) -> list[RagRecord]:
    """Real questions with their passage among two others, as `/answer` would put them."""
    rows = list(read_questions(folder))
    random.Random(SEED).shuffle(rows)
    contexts = list(dict.fromkeys(str(row["context"]) for row in rows))
    made = (_rag_record(tokenizer, template, row, contexts) for row in rows)
    return list(islice((each for each in made if each is not None), count))


def _rag_record(
    tokenizer: Tokenizer, template: ChatTemplate, row: Mapping[str, Any], contexts: Sequence[str]
) -> RagRecord | None:
    """None for an answer too near the passage's end to copy something from there."""
    context = str(row["context"])
    place = contexts.index(context)
    passages = [context, *(contexts[(place + step) % len(contexts)] for step in (1, 2))]
    answer = tokenizer.encode(_copied(context, int(row["answers"][0]["answer_start"]))).ids[:ANSWER_TOKENS]
    if len(answer) < ANSWER_TOKENS // 2:
        return None
    prompt = rag_prompt(tokenizer, template, str(row["question"]), passages)
    return RagRecord(prompt, answer, passages)


def _copied(context: str, at: int) -> str:
    """The sentence around a place and what follows, with the blank before it as it stands there."""
    start = next(start for start, end in split_sentences(context) if start <= at < end)
    return context[max(0, start - 1) :]


def rag_prompt(
    tokenizer: Tokenizer, template: ChatTemplate, question: str, passages: Sequence[str]
) -> list[int]:
    """Token ids of the shipped English prompt, without its examples."""
    shipped = msgspec.structs.replace(shipped_prompt("en"), examples=())
    numbered = [Passage(number, text) for number, text in enumerate(passages, start=1)]
    prompt = build_chat_prompt(
        shipped, question, numbered, RAG_TOKENS, lambda text: len(tokenizer.encode(text).ids)
    )
    ids: list[int] = tokenizer.encode(template.render(prompt.messages), add_special_tokens=False).ids
    return ids


def prefix_groups(
    tokenizer: Tokenizer, template: ChatTemplate, folder: Path, groups: int, questions: int
) -> list[list[list[int]]]:
    """Groups of prompts: the same passages, each time with another question."""
    by_context: dict[str, list[str]] = {}
    for row in read_questions(folder):
        by_context.setdefault(str(row["context"]), []).append(str(row["question"]))
    rich = [context for context, asked in by_context.items() if len(asked) >= questions]
    return [
        [
            rag_prompt(tokenizer, template, question, rich[place : place + 3])
            for question in by_context[rich[place]][:questions]
        ]
        for place in range(0, 3 * groups, 3)
    ]


def staggered(prompts: Sequence[Sequence[int]], requests: int, every_s: float) -> list[Arrival]:
    """Requests that come one after the other, with prompts and answers of many lengths; seeded."""
    rng = random.Random(SEED + requests)
    return [
        Arrival(
            number * every_s,
            list(prompts[number % len(prompts)][: rng.choice((128, 256, 384, 512))]),
            rng.choice((16, 32, 64, 96)),
        )
        for number in range(requests)
    ]


def write_json(path: Path, value: Sequence[Any]) -> str:
    """Write dataclasses or plain values; the absolute path, for a worker."""
    plain = [asdict(each) if hasattr(each, "__dataclass_fields__") else each for each in value]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(plain), encoding="utf-8")
    return str(path.resolve())
