"""Texts on which a converted encoder is compared with its original: English, Russian and Chinese."""

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

QUERIES = 100
PASSAGES = 200
_SEED = 20_251_121


@dataclass(frozen=True, slots=True)
class ParityTexts:
    """Queries and passages of one language; language is an ISO 639-1 code."""

    language: str
    queries: tuple[str, ...]
    passages: tuple[str, ...]


def parity_texts(data: Path | None) -> tuple[ParityTexts, ...]:
    """A seeded sample of the retrieval sets in `data`, or the built-in sentences without such a folder."""
    if data is None or not (data / "scifact").is_dir():
        return BUILT_IN
    folders = {"en": "scifact", "ru": "xquad_retrieval/ru", "zh": "xquad_retrieval/zh"}
    return tuple(_sample(language, data / folder) for language, folder in folders.items())


def _sample(language: str, folder: Path) -> ParityTexts:
    rng = random.Random(_SEED)
    queries = [record["text"] for record in _records(folder / "queries.jsonl.gz")]
    documents = _records(folder / "corpus.jsonl.gz")
    passages = [f"{document['title']} {document['text']}".strip() for document in documents]
    return ParityTexts(
        language,
        tuple(rng.sample(queries, min(QUERIES, len(queries)))),
        tuple(rng.sample(passages, min(PASSAGES, len(passages)))),
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
