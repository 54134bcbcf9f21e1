import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.training.decoder_fixtures import TINY_LAYOUT, tiny_tokenizer
from training.decoder_data import Example, ExampleBuilder, MixSettings, QaRecord, load_records
from training.decoder_recipe import LAYOUT, load_tokenizer
from training.minilm import minilm_directory

ALONE = MixSettings(many_passages=0.0, absent=0.0)
CASTLE = "The old castle was built in 1871. The miller built the bridge."
TOWER = "The tower was built in 1903 in Paris. The queen wrote in London."


def _record(question: str, context: str, answer: str | None, group: str = "g") -> QaRecord:
    start = context.index(answer) if answer else 0
    return QaRecord(question, context, group, ((start, start + len(answer)),) if answer else ())


def _build(
    record: QaRecord, mix: MixSettings = ALONE, seed: int = 0, beside: Sequence[QaRecord] = ()
) -> Example:
    builder = ExampleBuilder(tiny_tokenizer(), TINY_LAYOUT, [record, *beside])
    example = builder.build(record, mix, random.Random(seed))
    assert example is not None
    return example


def _ids(text: str) -> list[int]:
    return list(tiny_tokenizer().encode(text, add_special_tokens=False).ids)


def test_answer_is_named_by_its_passage_copied_and_ended() -> None:
    record = _record("When was the castle built?", CASTLE, "in 1871")
    example = _build(record)
    marker, end = TINY_LAYOUT.passage_tokens[0], TINY_LAYOUT.end
    assert example.targets.tolist() == [marker, *_ids("in 1871"), end, TINY_LAYOUT.accept]
    for target, places in zip(example.targets[1:-2], example.sources[1:-2], strict=True):
        assert {int(example.prompt.token_ids[place]) for place in places} == {int(target)}


def test_every_mention_of_the_answer_is_a_source_and_other_copies_of_its_words_are_not() -> None:
    context = "The king found gold. The queen found silver. The king wrote."
    record = _record("Who found gold?", context, "The king")
    example = _build(record)
    assert len(example.sources[1]) == 2  # "the" stands three times, "the king" twice
    assert [place + 1 for place in example.sources[1]] == list(example.sources[2])


def test_unanswerable_question_becomes_a_refusal() -> None:
    record = _record("Who built Rome?", CASTLE, None)
    example = _build(record)
    assert example.targets.tolist() == [TINY_LAYOUT.refuse]
    assert example.passage == 0


def test_hidden_gold_passage_becomes_a_refusal_over_the_others() -> None:
    records = [_record("When was the castle built?", CASTLE, "1871"), _record("Where?", TOWER, "Paris")]
    example = _build(records[0], MixSettings(many_passages=0.0, absent=1.0), beside=records[1:])
    assert example.targets.tolist() == [TINY_LAYOUT.refuse]
    assert tiny_tokenizer().token_to_id("tower") in example.prompt.token_ids
    assert tiny_tokenizer().token_to_id("castle") not in example.prompt.token_ids[8:]


def test_distractors_never_hold_the_answer() -> None:
    records = [
        _record("When was the castle built?", CASTLE, "1871"),
        _record("Where?", "The harbour is in Rome. 1871 was a new king.", "Rome"),
        _record("Where?", TOWER, "Paris"),
    ]
    mix = MixSettings(many_passages=1.0, absent=0.0, max_passages=4)
    answer = tiny_tokenizer().token_to_id("1871")
    for seed in range(20):
        example = _build(records[0], mix, seed, beside=records[1:])
        assert list(example.prompt.token_ids).count(answer) == 1
        assert example.passage in {placed.number for placed in example.prompt.passages}


def test_long_context_is_cut_around_the_answer() -> None:
    context = "The old stone. " * 40 + "The king found gold in Rome. " + "The new river. " * 40
    record = _record("Where did the king find gold?", context, "Rome")
    mix = MixSettings(many_passages=0.0, absent=0.0, window_tokens=30)
    for seed in range(10):
        example = _build(record, mix, seed)
        assert tiny_tokenizer().token_to_id("rome") in example.prompt.token_ids
        assert len(example.prompt.passages[0].offsets) == 30


def test_question_beyond_the_layout_is_left_out() -> None:
    record = _record("the " * 40, CASTLE, "1871")
    assert (
        ExampleBuilder(tiny_tokenizer(), TINY_LAYOUT, [record]).build(record, ALONE, random.Random(0)) is None
    )


def test_plausible_answer_is_followed_to_a_refusing_verdict() -> None:
    record = replace(_record("Who built the tower?", CASTLE, None), plausible=(38, 44))
    example = _build(record)
    assert example.tokens.tolist()[1:-1] == [*_ids("miller"), TINY_LAYOUT.end]
    assert example.targets.tolist() == [TINY_LAYOUT.refuse, -1, -1, TINY_LAYOUT.refuse]


def test_whole_sentences_are_learnt_where_they_begin_and_what_follows_them() -> None:
    context = "The king found gold. The queen found silver. The miller wrote. The river."
    answer = context[context.index("The queen") : context.index(" The river")]
    example = _build(replace(_record("How did the queen live?", context, answer), style="sentences"))
    assert int(example.prompt.token_ids[-1]) == TINY_LAYOUT.begin_sentences
    learnt = [index for index, target in enumerate(example.targets) if target >= 0]
    stop = example.tokens.tolist().index(_ids(".")[0])
    assert learnt == [0, 1, 2, 3, 4, stop + 1, len(example.tokens) - 2, len(example.tokens) - 1]


def test_question_is_written_from_its_passage_and_answer() -> None:
    record = _record("who built the bridge", CASTLE, "miller")
    example = _build(record, replace(ALONE, asked=1.0))
    assert example.tokens.tolist() == [*_ids("who built the bridge"), TINY_LAYOUT.end]
    assert int(example.prompt.token_ids[0]) == TINY_LAYOUT.ask
    assert int(example.prompt.token_ids[-1]) == TINY_LAYOUT.begin_question
    assert [bool(places) for places in example.sources] == [False, True, True, True, False]
    assert example.written.all()


def test_distractors_come_from_the_search_where_there_is_one() -> None:
    record = _record("When was the castle built?", CASTLE, "1871")
    builder = ExampleBuilder(tiny_tokenizer(), TINY_LAYOUT, [record], {record.question: [TOWER]})
    example = builder.build(record, MixSettings(many_passages=1.0, absent=0.0), random.Random(0))
    assert example is not None
    assert _ids("tower")[0] in example.prompt.token_ids


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
    builder = ExampleBuilder(tokenizer, LAYOUT, records)
    mix = MixSettings(many_passages=0.5, absent=0.0)
    spelled = 0
    for record in records:
        example = builder.build(record, mix, random.Random(0))
        assert example is not None
        golds = [record.context[start:end] for start, end in record.answers]
        encoded = [tokenizer.encode(gold, add_special_tokens=False).ids for gold in golds]
        spelled += example.targets.tolist()[1:-2] in encoded
    assert spelled >= 0.9 * len(records)  # some published spans begin or end inside a word
