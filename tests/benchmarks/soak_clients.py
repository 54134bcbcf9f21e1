"""Clients of all kinds at once, in a process of their own: one JSON object in, one out.

python -m tests.benchmarks.soak_clients < SOAK
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.benchmarks.http_client import Address, Connection, post
from tests.benchmarks.quantiles import percentile

GUIDE = Path(__file__).parents[2] / "app" / "guide"
RUSSIAN = (
    "Когда сажать рассаду помидоров в открытый грунт?",
    "Сервис ищет фрагменты документов по смыслу и по словам.",
    "Резервную копию следует проверять восстановлением.",
)
CHINESE = ("什么时候移栽番茄苗最合适？", "该服务按含义和词语检索文档片段。", "备份应通过恢复来检验。")
BUSY = 429
BUSY_PAUSE_S = 0.1
LONGEST_PATIENCE_S = 0.03  # until a client that cancels has gone: within a run of the graph or before it
TIMEOUT_S = 60.0


class Kind(StrEnum):
    """What a client does in a turn."""

    QUERY = "query"
    BATCH = "batch"
    RUSSIAN = "russian"
    CHINESE = "chinese"
    OVERLONG = "overlong"
    CANCELLED = "cancelled"


SHARES = {
    Kind.QUERY: 60,
    Kind.BATCH: 8,
    Kind.RUSSIAN: 12,
    Kind.CHINESE: 12,
    Kind.OVERLONG: 4,
    Kind.CANCELLED: 4,
}
EXPECTED_STATUS = {kind: 400 if kind is Kind.OVERLONG else 200 for kind in Kind}


@dataclass(slots=True)
class Tally:
    """What happened. unexpected: answers and failures that should not be, by their description."""

    turns: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    query_s_by_minute: dict[int, list[float]] = field(default_factory=dict)

    def note(self, kind: Kind, status: int, began_s: float, seconds: float) -> None:
        """Count an answer. began_s: since the start of the soak."""
        if status == BUSY:
            self.busy += 1
        elif status != EXPECTED_STATUS[kind]:
            self.unexpected[f"{kind}: status {status}"] += 1
        elif kind is Kind.QUERY:
            self.query_s_by_minute.setdefault(int(began_s // 60), []).append(seconds)

    def summary(self) -> Mapping[str, object]:
        return {
            "turns": dict(self.turns),
            "unexpected": dict(self.unexpected),
            "busy_429": self.busy,
            "query_latency_by_minute": [
                {
                    "minute": minute + 1,
                    "queries": len(seconds),
                    "p50_ms": round(1000 * percentile(seconds, 0.5), 1),
                    "p99_ms": round(1000 * percentile(seconds, 0.99), 1),
                    "max_ms": round(1000 * max(seconds), 1),
                }
                for minute, seconds in sorted(self.query_s_by_minute.items())
            ],
        }


def make_input(kind: Kind, english: Sequence[str], chance: random.Random) -> str | list[str]:
    """The `input` of a turn."""
    words = chance.choice(english).split()
    match kind:
        case Kind.QUERY:
            return " ".join(words[: chance.randint(3, 14)])
        case Kind.RUSSIAN:
            return " ".join(chance.sample(RUSSIAN, chance.randint(1, 3)))
        case Kind.CHINESE:
            return "".join(chance.sample(CHINESE, chance.randint(1, 3)))
        case Kind.OVERLONG:
            return " ".join(words * (600 // len(words) + 1))
        case Kind.BATCH | Kind.CANCELLED:
            texts = chance.choices((*english, *RUSSIAN, *CHINESE), k=chance.randint(8, 32))
            return [" ".join(text.split()[:120]) for text in texts]


def english_paragraphs() -> list[str]:
    """Paragraphs of the guide, without tables, code and headings."""
    pages = [path.read_text(encoding="utf-8") for path in sorted(GUIDE.glob("*.md"))]
    paragraphs = [paragraph for page in pages for paragraph in page.split("\n\n")]
    return [text for text in paragraphs if len(text) > 120 and text[0].isalpha()]


async def soak(address: Address, model: str, clients: int, seconds: float) -> Tally:
    """Let the clients take turns until the time is over."""
    tally, started = Tally(), time.perf_counter()
    english = english_paragraphs()

    def request(kind: Kind, chance: random.Random) -> bytes:
        return post(address, {"model": model, "input": make_input(kind, english, chance)})

    each = [_client(number, address, request, started, seconds, tally) for number in range(clients)]
    await asyncio.gather(*each)
    return tally


async def _client(
    number: int,
    address: Address,
    request: Callable[[Kind, random.Random], bytes],
    started: float,
    seconds: float,
    tally: Tally,
) -> None:
    chance = random.Random(number)
    connection = None
    while (began := time.perf_counter() - started) < seconds:
        kind = chance.choices(tuple(SHARES), tuple(SHARES.values()))[0]
        tally.turns[kind] += 1
        try:
            connection = connection or await Connection.open(address.host, address.port)
            await connection.send(request(kind, chance))
            if kind is Kind.CANCELLED:
                await asyncio.sleep(chance.random() * LONGEST_PATIENCE_S)
                connection.close()
                connection = None
                continue
            status, _ = await asyncio.wait_for(connection.receive(), TIMEOUT_S)
        except OSError as error:  # asyncio's TimeoutError is one
            tally.unexpected[f"{kind}: {type(error).__name__}"] += 1
            connection = None
            continue
        tally.note(kind, status, began, time.perf_counter() - started - began)
        if status == BUSY:
            await asyncio.sleep(BUSY_PAUSE_S)
    if connection is not None:
        connection.close()


def main() -> None:
    order = json.load(sys.stdin)
    address = Address(order["host"], order["port"], order["path"])
    tally = asyncio.run(soak(address, order["model"], order["clients"], order["seconds"]))
    json.dump(tally.summary(), sys.stdout)


if __name__ == "__main__":
    main()
