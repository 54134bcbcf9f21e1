"""Texts on which a converted encoder is compared with its original: English, Russian and Chinese."""

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.errors import InvalidInput

QUERIES = 100
PASSAGES = 200
CALIBRATION = 16
FEWEST_TEXTS = 25
_SEED = 20_251_121


@dataclass(frozen=True, slots=True)
class ParityTexts:
    """Queries and passages to compare on, and texts to measure scales on, which are none of them.

    language: an ISO 639-1 code, or the name of the caller's file.
    """

    language: str
    queries: tuple[str, ...]
    passages: tuple[str, ...]
    calibration: tuple[str, ...] = ()


def parity_texts(data: Path | None) -> tuple[ParityTexts, ...]:
    """A seeded sample of the retrieval sets in `data`, or the built-in sentences without such a folder."""
    if data is None or not (data / "scifact").is_dir():
        return BUILT_IN
    folders = {"en": "scifact", "ru": "xquad_retrieval/ru", "zh": "xquad_retrieval/zh"}
    return tuple(_sample(language, data / folder) for language, folder in folders.items())


def given_texts(path: Path) -> ParityTexts:
    """The caller's texts, one a line or one in the field `text` of a JSON object a line.

    The shortest fifth are the queries; every fifth of the others is kept to measure scales on.
    Raises InvalidInput for fewer than FEWEST_TEXTS or a file that cannot be read so.
    """
    texts = list(dict.fromkeys(_lines(path)))
    if len(texts) < FEWEST_TEXTS:
        raise _unfit(path, f"{len(texts)} different texts", f"at least {FEWEST_TEXTS}")
    texts.sort(key=len)
    queries, others = texts[: len(texts) // 5], texts[len(texts) // 5 :]
    passages = tuple(text for position, text in enumerate(others) if position % 5)
    return ParityTexts(path.stem, tuple(queries), passages, tuple(others[::5]))


def _lines(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _unfit(path, str(error), "a text file in UTF-8") from error
    for number, line in enumerate(lines, start=1):
        text = _field(path, number, line) if path.suffix == ".jsonl" else line
        if text.strip():
            yield text


def _field(path: Path, number: int, line: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, TypeError, KeyError):
        text = None
    if not isinstance(text, str):
        raise _unfit(path, f"line {number}: {line[:80]!r}", 'an object with a string "text" a line')
    return text


def _unfit(path: Path, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"{path}: found {found}; expected {expected}", field="texts", found=found, expected=expected
    )


def _sample(language: str, folder: Path) -> ParityTexts:
    rng = random.Random(_SEED)
    queries = [record["text"] for record in _records(folder / "queries.jsonl.gz")]
    documents = _records(folder / "corpus.jsonl.gz")
    passages = [f"{document['title']} {document['text']}".strip() for document in documents]
    drawn = rng.sample(queries, min(QUERIES, len(queries)))
    shuffled = rng.sample(passages, len(passages))
    # A small set has no passages to spare: its scales come from the built-in texts.
    compared = shuffled[:PASSAGES]
    return ParityTexts(
        language, tuple(drawn), tuple(compared), tuple(shuffled[PASSAGES : PASSAGES + CALIBRATION])
    )


def _records(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


BUILT_IN = (
    ParityTexts(
        "en",
        ("How far is the Moon?", "What do bees make?", "When does water boil?", "Who wrote Hamlet?"),
        (
            "The Moon orbits the Earth at a mean distance of 384,400 kilometres.",
            "Honey bees gather nectar and turn it into honey, which the colony eats in winter.",
            "At sea level water boils at 100 degrees Celsius; on a high mountain it boils earlier.",
            "Hamlet, a tragedy by William Shakespeare, was written around the year 1600.",
            "The Amazon carries more water than the next seven largest rivers together.",
            "A contract is void when one party was forced to sign it.",
            "Vaccines train the immune system to recognise a pathogen before it meets one.",
            "The train to the coast leaves every hour from platform four.",
            "Copper conducts electricity better than iron and does not rust.",
            "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
            "Use a virtual environment to keep the packages of each project apart.",
            "The parliament meets twice a year and is elected for four years.",
        ),
    ),
    ParityTexts(
        "ru",
        ("Как далеко до Луны?", "Что делают пчёлы?", "Когда кипит вода?", "Кто написал «Гамлета»?"),
        (
            "Луна обращается вокруг Земли на среднем расстоянии 384 400 километров.",
            "Пчёлы собирают нектар и превращают его в мёд, которым семья питается зимой.",
            "На уровне моря вода кипит при ста градусах Цельсия, а высоко в горах раньше.",
            "Трагедия Уильяма Шекспира «Гамлет» написана около 1600 года.",
            "Амазонка несёт больше воды, чем семь следующих по величине рек вместе.",
            "Договор недействителен, если одну из сторон заставили его подписать.",
            "Прививки учат иммунную систему узнавать возбудителя до встречи с ним.",
            "Поезд к морю отправляется каждый час с четвёртого пути.",
            "Медь проводит электричество лучше железа и не ржавеет.",
            "При фотосинтезе из света, воды и углекислого газа получаются сахар и кислород.",
            "Виртуальное окружение отделяет пакеты одного проекта от другого.",
            "Парламент собирается дважды в год и избирается на четыре года.",
        ),
    ),
    ParityTexts(
        "zh",
        ("月球有多远？", "蜜蜂做什么？", "水什么时候沸腾？", "《哈姆雷特》是谁写的？"),
        (
            "月球绕地球运行，平均距离为三十八万四千四百公里。",
            "蜜蜂采集花蜜并把它酿成蜂蜜，供蜂群冬天食用。",
            "在海平面，水在一百摄氏度沸腾；在高山上沸点更低。",
            "《哈姆雷特》是威廉·莎士比亚的悲剧，约写于一六〇〇年。",
            "亚马孙河的水量超过其后七条大河的总和。",
            "如果一方被迫签字，合同无效。",
            "疫苗训练免疫系统提前识别病原体。",
            "开往海边的火车每小时从四号站台发车。",
            "铜的导电性比铁好，而且不会生锈。",
            "光合作用把光、水和二氧化碳变成糖和氧气。",
            "虚拟环境把每个项目的软件包分开。",
            "议会每年开会两次，任期四年。",
        ),
    ),
)
