import gzip
import json
import random
from pathlib import Path

from tests.training.decoder_fixtures import TINY_LAYOUT, tiny_tokenizer
from training.decoder_data import ExampleBuilder, MixSettings, QaRecord, load_records
from training.decoder_recipe import LAYOUT, load_tokenizer
from training.minilm import minilm_directory

ALONE = MixSettings(many_passages=0.0, absent=0.0)
CASTLE = "The old castle was built in 1871. The miller built the bridge."
TOWER = "The tower was built in 1903 in Paris. The queen wrote in London."


def _record(question: str, context: str, answer: str | None, group: str = "g") -> QaRecord:
    start = context.index(answer) if answer else 0
    return QaRecord(question, context, group, ((start, start + len(answer)),) if answer else ())


def _builder(records: list[QaRecord], mix: MixSettings = ALONE) -> ExampleBuilder:
    return ExampleBuilder(tiny_tokenizer(), TINY_LAYOUT, records, mix)


def test_answer_is_named_by_its_passage_copied_and_ended() -> None:
    record = _record("When was the castle built?", CASTLE, "in 1871")
    example = _builder([record]).build(record, random.Random(0))
    assert example is not None
    words = [tiny_tokenizer().token_to_id(word) for word in ("in", "1871")]
    assert example.targets.tolist() == [TINY_LAYOUT.passage_tokens[0], *words, TINY_LAYOUT.end]
    for target, places in zip(example.targets[1:-1], example.sources[1:-1], strict=True):
        assert {int(example.prompt.token_ids[place]) for place in places} == {int(target)}


def test_every_mention_of_the_answer_is_a_source_and_other_copies_of_its_words_are_not() -> None:
    context = "The king found gold. The queen found silver. The king wrote."
    record = _record("Who found gold?", context, "The king")
    example = _builder([record]).build(record, random.Random(0))
    assert example is not None
    assert len(example.sources[1]) == 2  # "the" stands three times, "the king" twice
    assert [place + 1 for place in example.sources[1]] == list(example.sources[2])


def test_unanswerable_question_becomes_a_refusal() -> None:
    record = _record("Who built Rome?", CASTLE, None)
    example = _builder([record]).build(record, random.Random(0))
    assert example is not None
    assert example.targets.tolist() == [TINY_LAYOUT.refuse]
    assert example.passage == 0


def test_hidden_gold_passage_becomes_a_refusal_over_the_others() -> None:
    records = [_record("When was the castle built?", CASTLE, "1871"), _record("Where?", TOWER, "Paris")]
    builder = _builder(records, MixSettings(many_passages=0.0, absent=1.0))
    example = builder.build(records[0], random.Random(0))
    assert example is not None
    assert example.targets.tolist() == [TINY_LAYOUT.refuse]
    assert tiny_tokenizer().token_to_id("tower") in example.prompt.token_ids
    assert tiny_tokenizer().token_to_id("castle") not in example.prompt.token_ids[8:]


def test_distractors_never_hold_the_answer() -> None:
    records = [
        _record("When was the castle built?", CASTLE, "1871"),
        _record("Where?", "The harbour is in Rome. 1871 was a new king.", "Rome"),
        _record("Where?", TOWER, "Paris"),
    ]
    builder = _builder(records, MixSettings(many_passages=1.0, absent=0.0, max_passages=4))
    answer = tiny_tokenizer().token_to_id("1871")
    for seed in range(20):
        example = builder.build(records[0], random.Random(seed))
        assert example is not None
        assert list(example.prompt.token_ids).count(answer) == 1
        assert example.passage in {placed.number for placed in example.prompt.passages}


def test_long_context_is_cut_around_the_answer() -> None:
    context = "The old stone. " * 40 + "The king found gold in Rome. " + "The new river. " * 40
    record = _record("Where did the king find gold?", context, "Rome")
    mix = MixSettings(many_passages=0.0, absent=0.0, window_tokens=30)
    for seed in range(10):
        example = _builder([record], mix).build(record, random.Random(seed))
        assert example is not None
        assert tiny_tokenizer().token_to_id("rome") in example.prompt.token_ids
        assert len(example.prompt.passages[0].offsets) == 30


def test_question_beyond_the_layout_is_left_out() -> None:
    record = _record("the " * 40, CASTLE, "1871")
    assert list(_builder([record]).epoch([record], random.Random(0))) == []


def test_records_with_free_text_answers_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "context": CASTLE, "title": "t", "is_impossible": False,
         "answers": [{"text": "free", "answer_start": -1}]},
        {"question": "q", "context": CASTLE, "title": "t", "is_impossible": False,
         "answers": [{"text": "The old", "answer_start": 0}]},
        {"question": "q", "context": CASTLE, "title": "t", "is_impossible": True, "answers": []},
    ]  # fmt: skip
    path = tmp_path / "qa.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    assert [record.answers for record in load_records(path)] == [((0, 7),), ()]
    assert [record.answers for record in load_records(path, unanswerable=False)] == [((0, 7),)]


def test_training_sets_become_examples_that_spell_their_answers(data_dir: Path) -> None:
    records = load_records(data_dir / "nq_gold" / "dev.jsonl.gz")[:50]
    tokenizer = load_tokenizer(minilm_directory())
    builder = ExampleBuilder(tokenizer, LAYOUT, records, MixSettings(many_passages=0.5, absent=0.0))
    spelled = 0
    for record in records:
        example = builder.build(record, random.Random(0))
        assert example is not None
        golds = [record.context[start:end] for start, end in record.answers]
        encoded = [tokenizer.encode(gold, add_special_tokens=False).ids for gold in golds]
        spelled += example.targets.tolist()[1:-1] in encoded
    assert spelled >= 0.9 * len(records)  # some published spans begin or end inside a word
