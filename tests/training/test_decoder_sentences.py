"""Sources of answers that are whole sentences, on a made-up folder of sets and on the real one."""

import gzip
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from generation.sentences import split_sentences
from training.decoder_data import QaRecord
from training.decoder_recipe import HELD_OUT_GROUPS
from training.decoder_sentences import (
    SOURCES,
    fairytale_records,
    literal_records,
    medquad_records,
    scifact_records,
    selqa_records,
    sentence_records,
    squad_pair_records,
)
from training.medquad_texts import medical_answer
from training.sentence_texts import best_match, detokenised, runs_of

HARBOUR = [
    "The harbour was built in 1871.",
    "It lies at the mouth of the Tarn.",
    "Ships from Esterland came every week.",
    "They brought grain and timber.",
    "Trade ended when the river silted up.",
]
TALE = (
    "Once a miller lived by the river. His wheel stopped because the ice had frozen the water. "
    "He borrowed an axe and broke the ice. Then the wheel turned again."
)


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def qa(question: str, context: str, *answers: str, title: str = "tale") -> dict[str, Any]:
    found = [{"text": text, "answer_start": context.find(text)} for text in answers]
    return {
        "question": question,
        "context": context,
        "title": title,
        "answers": found,
        "is_impossible": not found,
    }


def selqa(article: str, answers: list[int]) -> dict[str, Any]:
    return {"question": "Why did it end?", "article": article, "candidates": HARBOUR, "answers": answers}


def medquad(focus: str, qtype: str, answer: str) -> dict[str, Any]:
    return {"focus": focus, "qtype": qtype, "question": f"What about {focus} ?", "answer": answer}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("selqa/dev", "selqa/test", "medquad/medquad", "squad_question_sentence/pairs"):
        write(tmp_path / f"{name}.jsonl.gz", [])
    for name in ("scifact/corpus", "scifact/evidence", "fairytaleqa/train"):
        write(tmp_path / f"{name}.jsonl.gz", [])
    for name in ("squad/train", "squad/dev", "nq_gold/train", "nq_gold/dev"):
        write(tmp_path / f"{name}.jsonl.gz", [])
    (tmp_path / "scifact/qrels").mkdir()
    (tmp_path / "scifact/qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\n")
    return tmp_path


def answers(record: QaRecord) -> list[str]:
    return [record.context[start:end] for start, end in record.answers]


def test_the_marked_sentences_of_a_section_are_the_answers(folder: Path) -> None:
    write(folder / "selqa/test.jsonl.gz", [selqa("Northwick", [0, 2, 3])])

    [record] = selqa_records(folder)

    assert answers(record) == [HARBOUR[0], f"{HARBOUR[2]} {HARBOUR[3]}"]
    assert record.style == "sentences"
    assert record.group == "Northwick"


def test_a_run_of_more_than_three_sentences_is_no_answer(folder: Path) -> None:
    write(folder / "selqa/dev.jsonl.gz", [selqa("Northwick", [0, 1, 2, 3])])

    assert selqa_records(folder) == []


def test_articles_that_are_held_out_are_not_read(folder: Path) -> None:
    rows = [selqa(name.replace("_", " "), [4]) for name in (*HELD_OUT_GROUPS, "Northwick")]
    write(folder / "selqa/dev.jsonl.gz", rows)
    context = " ".join(HARBOUR)
    tales = [qa("Why did it end?", context, "the river", title=n) for n in (*HELD_OUT_GROUPS, "A")]
    write(folder / "squad/train.jsonl.gz", tales)

    assert [record.group for record in selqa_records(folder)] == ["Northwick"]
    assert [record.group for record in literal_records(folder, share=1.0)] == ["A"]


@pytest.mark.parametrize("name", ["squad/dev", "nq_gold/dev"])
def test_a_sentence_of_a_development_set_is_left_out(folder: Path, name: str) -> None:
    write(folder / f"{name}.jsonl.gz", [qa("Who?", "First. TRADE ended, when the river silted-up! Last.")])
    write(folder / "selqa/dev.jsonl.gz", [selqa("Northwick", [4]), selqa("Southwick", [1])])
    write(folder / f"{name}.jsonl.gz", [qa("Who?", "First. TRADE ended, when the river silted up! Last.")])

    assert [record.group for record in selqa_records(folder)] == ["Southwick"]


def test_medical_answers_begin_behind_other_text_about_the_same_illness(folder: Path) -> None:
    long = "Greyfever is a rare illness. It comes from moors. Most people survive it. {} It leaves no trace."
    rows = [
        medquad(f"Greyfever {i}", qtype, long.format(f"Point {qtype} of {i} is open."))
        for i in range(40)
        for qtype in ("causes", "treatment")
    ]
    write(folder / "medquad/medquad.jsonl.gz", rows)

    found = medquad_records(folder)

    assert found
    assert all(answers(record)[0].startswith("Greyfever is a rare illness.") for record in found)
    at_start = sum(record.answers[0][0] == 0 for record in found) / len(found)
    assert 0.05 < at_start < 0.5
    assert all(str(record.group).split()[1] in record.context for record in found)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("What causes it? It is caused by a gene. More about it follows here.", 2),
        ("These resources address the diagnosis of it: - Gene Review", 0),
        ("It is rare in most places. Signs include: - pain - fever - cough", 1),
        ("Key Points - There are several stages of it.", 0),
        ("", 0),
    ],
)
def test_lists_and_references_are_no_answers(answer: str, expected: int) -> None:
    assert len(medical_answer(answer)) == expected


def test_general_remarks_do_not_answer_what_an_illness_is(folder: Path) -> None:
    text = "The kidneys are two bean-shaped organs. They lie below the rib cage."
    write(folder / "medquad/medquad.jsonl.gz", [medquad("Moor fever", "information", text)])

    assert medquad_records(folder) == []


def test_paired_sentences_stand_between_their_neighbours(folder: Path) -> None:
    rows = [
        {"question": f"what is number {i} ?", "sentence": f"the number {i} `` item '' is {i} , of course ."}
        for i in range(30)
    ]
    write(folder / "squad_question_sentence/pairs.jsonl.gz", rows)

    found = squad_pair_records(folder)

    assert len(found) == 30
    for i, record in enumerate(found):
        assert record.question == f"what is number {i}?"
        assert answers(record) == [f'The number {i} "item" is {i}, of course.']
        assert 3 <= len(split_sentences(record.context)) <= 6
    assert 0 < sum(record.answers[0][0] == 0 for record in found) < 20


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("`` yes , '' he said .", '"yes," he said.'),
        ("it cost $ 5.5 -lrb- about £ 4 -rrb- .", "it cost $5.5 (about £4)."),
        ("beyoncé 's foundation did n't help", "beyoncé's foundation didn't help"),
    ],
)
def test_treebank_tokens_become_running_text(tokens: str, text: str) -> None:
    assert detokenised(tokens) == text


def test_only_training_claims_ask_and_both_verdicts_answer(folder: Path) -> None:
    abstract = "We gave mice zinc. Zinc made mice sleep longer. Copper did not make mice sleep."
    write(folder / "scifact/corpus.jsonl.gz", [{"_id": "7", "title": "Zinc", "text": abstract}])
    evidence = [("1", "SUPPORT", [1]), ("2", "CONTRADICT", [2]), ("3", "SUPPORT", [1]), ("4", "SUPPORT", [9])]
    rows = [
        {"_id": i, "claim": "Mice sleep", "evidence": [{"doc": "7", "label": label, "sentences": place}]}
        for i, label, place in evidence
    ]
    write(folder / "scifact/evidence.jsonl.gz", rows)
    (folder / "scifact/qrels/train.tsv").write_text("query-id\tcorpus-id\tscore\n1\t7\t1\n2\t7\t1\n4\t7\t1\n")

    found = scifact_records(folder)

    assert [answers(record) for record in found] == [
        ["Zinc made mice sleep longer."],
        ["Copper did not make mice sleep."],
    ]


def test_a_free_answer_is_found_in_the_sentence_that_says_it(folder: Path) -> None:
    rows = [
        qa("Why did the wheel stop?", TALE, "The ice froze the water."),
        qa("Why was he glad?", TALE, "Dinner tasted wonderful."),
        qa("Who lived there?", TALE, "It was a miller by the river."),
    ]
    write(folder / "fairytaleqa/train.jsonl.gz", rows)

    assert [answers(record) for record in fairytale_records(folder)] == [
        ["His wheel stopped because the ice had frozen the water."]
    ]


def test_the_words_of_the_question_alone_do_not_choose_a_sentence() -> None:
    context = "The old miller stopped the wheel. Snow fell. He feared that flooding would break it."
    spans = split_sentences(context)

    found = best_match(
        context, spans, "Why did the old miller stop the wheel?", "The miller feared flooding."
    )

    assert found is not None
    assert context[slice(*found)].endswith("He feared that flooding would break it.")


def test_the_sentence_around_a_literal_answer_is_the_answer(folder: Path) -> None:
    rows = [
        qa("Why did the wheel stop?", TALE, "the ice had frozen the water"),
        qa("How many millers were there?", TALE, "a miller"),
        qa("Why did the moon fall?", TALE),
    ]
    write(folder / "squad/train.jsonl.gz", rows)

    found = literal_records(folder, share=1.0)

    assert [answers(record) for record in found] == [
        ["His wheel stopped because the ice had frozen the water."],
        [],
    ]
    assert {record.style for record in found} == {"sentences"}
    assert literal_records(folder, share=0.0) == []


def test_every_reading_gives_the_same_records(folder: Path) -> None:
    write(folder / "selqa/dev.jsonl.gz", [selqa(f"Northwick {i}", [i % 5]) for i in range(20)])
    rows = [qa("Why did it end?", " ".join(HARBOUR), "the river", title=str(i)) for i in range(20)]
    write(folder / "squad/train.jsonl.gz", rows)

    found = sentence_records(folder)

    assert 20 < len(found) < 40
    assert found == sentence_records(folder)


def test_indices_become_runs() -> None:
    assert runs_of([5, 1, 2, 2, 9]) == [(1, 3), (5, 6), (9, 10)]
    assert runs_of([]) == []


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="selqa"):
        sentence_records(tmp_path)


@pytest.mark.parametrize(
    ("name", "least"),
    [("selqa", 2000), ("scifact", 500), ("fairytale", 2000), ("literal", 600), ("squad_pairs", 10_000)],
)
def test_real_answers_are_whole_sentences_as_serving_cuts_them(data_dir: Path, name: str, least: int) -> None:
    source: Callable[[Path], list[QaRecord]] = SOURCES[name]

    found = source(data_dir)

    assert len(found) >= least
    for record in found[:: max(1, len(found) // 300)]:
        spans = split_sentences(record.context)
        starts, ends = {start for start, _ in spans}, {end for _, end in spans}
        assert all(start in starts and end in ends for start, end in record.answers)
        assert record.style == "sentences"
        assert record.group not in HELD_OUT_GROUPS
