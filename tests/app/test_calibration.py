"""The refusal threshold of a collection, fitted to questions: by readers without a model, and by command."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.cli.calibrate import thin
from app.evaluation.calibration import Calibration, CalibrationTask, calibrate
from app.resources import Models, Resources, open_resources
from app.services.types import CollectionSettings, DocumentInput
from app.settings import Settings
from embeddings.errors import FootnoteError, InvalidInput, NotFound
from generation.answering import CHAT_DEPTH, Answerer
from generation.causal.chat import ChatEvent, ChatMessage, ResponseFormat
from generation.causal.chat_reader import ChatReader
from generation.causal.prompt_template import PromptTemplate, shipped_prompt
from generation.sampling import SamplingSettings
from generation.threshold import ScoredAnswer, threshold_curve
from generation.types import Passage, Reading
from tests.app.test_cli import Run, assert_refused, read_json, runner
from tests.generation.causal.scripted_chat import ScriptedChat

TEXT = "Tomatoes are planted in May."
NOTES = "notes"


class SureReader:
    """Answers with the first word of the first passage, as sure as the question says; refuses below that."""

    model_id = "sure-reader@test"
    passage_limit = 5

    def __init__(self) -> None:
        self.thresholds: list[float | None] = []

    def read(
        self,
        question: str,
        passages: Sequence[Passage],
        sampling: SamplingSettings,
        *,
        refuse_below: float | None,
        cancelled: Callable[[], bool],
    ) -> Iterator[str | Reading]:
        self.thresholds.append(refuse_below)
        sure = float(question.rsplit(maxsplit=1)[-1])
        word = passages[0].text.split()[0]
        yield word
        yield Reading(1, 0, len(word), word, sure, 1, 10, "stop")


class SureChat(ScriptedChat):
    """Says that tomatoes are planted, as sure as the question says."""

    def __init__(self) -> None:
        super().__init__(
            "Tomatoes are planted in May.", instead=shipped_prompt("en").not_found, probability=0.5
        )

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingSettings,
        response: ResponseFormat | None = None,
    ) -> AsyncGenerator[ChatEvent, None]:
        self._probability = float(re.findall(r"0\.\d+", messages[-1].content)[-1])
        async for event in super().chat(messages, sampling, response):
            yield event


def question(number: int, sure: float, answer: str | None) -> dict[str, Any]:
    answers = [] if answer is None else [{"text": answer, "answer_start": TEXT.find(answer)}]
    return {
        "id": str(number), "title": "Garden", "question": f"How sure about tomatoes are you: {sure}",
        "context": TEXT, "answers": answers, "is_impossible": answer is None,
    }  # fmt: skip


def plain_questions() -> list[dict[str, Any]]:
    """40 with the answer, surer than 0.6 of it, and 20 without one, less sure than 0.4."""
    sure = [question(i, 0.6 + i / 200, "Tomatoes") for i in range(40)]
    return sure + [question(100 + i, 0.2 + i / 100, None) for i in range(20)]


def write(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "questions.jsonl", plain_questions())


@pytest.fixture
def reader() -> SureReader:
    return SureReader()


@pytest.fixture
async def garden(settings: Settings, models: Models, reader: SureReader) -> AsyncIterator[Resources]:
    """The open service with a collection of one document."""
    async with open_resources(
        settings, replace(models, answerer=Answerer(reader, refuse_below=0.5))
    ) as opened:
        await opened.collections.create(NOTES, CollectionSettings(refusal_threshold=0.9))
        await opened.documents.add(NOTES, [DocumentInput(TEXT, id="tomatoes")])
        yield opened


async def run_task(resources: Resources, task: CalibrationTask) -> Calibration:
    return await calibrate(resources, NOTES, task, lambda *_: None)


async def threshold_of(resources: Resources) -> float | None:
    return (await resources.collections.get(NOTES)).settings.refusal_threshold


@pytest.mark.parametrize("gold", [True, False])
async def test_threshold_that_parts_right_from_wrong_is_found_and_stored(
    garden: Resources, data: Path, reader: SureReader, gold: bool
) -> None:
    found = await run_task(garden, CalibrationTask(data, gold=gold))
    assert 0.39 < found.chosen.threshold <= 0.6
    assert (found.chosen.f1, found.chosen.precision, found.chosen.answers) == (1.0, 1.0, 40)
    assert (found.questions, found.unanswerable, found.skipped) == (60, 20, 0)
    assert (found.present.threshold, found.present.answers) == (0.9, 0)
    assert found.held_out_f1 == pytest.approx(1.0)
    assert await threshold_of(garden) == found.chosen.threshold
    assert set(reader.thresholds) == {None}  # refusal was off all along


async def test_dry_run_changes_nothing(garden: Resources, data: Path) -> None:
    found = await run_task(garden, CalibrationTask(data, apply=False))
    assert found.chosen.f1 == 1.0
    assert not found.applied
    assert await threshold_of(garden) == 0.9


async def test_other_settings_of_the_collection_stay(garden: Resources, data: Path) -> None:
    prompt = PromptTemplate(name="mine", system="", not_found="Nothing.")
    before = (await garden.collections.get(NOTES)).settings
    await garden.collections.update(NOTES, replace(before, prompt=prompt))
    await run_task(garden, CalibrationTask(data))
    assert (await garden.collections.get(NOTES)).settings.prompt == prompt


async def test_wanted_precision_is_reached_at_the_lowest_threshold(garden: Resources, data: Path) -> None:
    found = await run_task(garden, CalibrationTask(data, target="precision", precision=0.8))
    assert found.chosen.answers == 50
    assert found.chosen.precision == 0.8


async def test_precision_needs_no_unanswerable_questions(garden: Resources, tmp_path: Path) -> None:
    lines = [question(i, 0.5 + i / 200, "Tomatoes" if i > 9 else "other") for i in range(60)]
    path = write(tmp_path / "answerable.jsonl", lines)
    found = await run_task(garden, CalibrationTask(path, target="precision", precision=0.95))
    assert found.chosen.precision >= 0.95
    with pytest.raises(InvalidInput, match="0 of the 60 questions have no answer") as refused:
        await run_task(garden, CalibrationTask(path))
    assert "--target precision" in (refused.value.next_step or "")


async def test_precision_out_of_reach_is_told_with_the_best_there_is(
    garden: Resources, tmp_path: Path
) -> None:
    lines = [question(i, 0.5 + i / 200, "Tomatoes" if i % 2 else "other") for i in range(60)]
    path = write(tmp_path / "hard.jsonl", lines)
    with pytest.raises(InvalidInput, match="no threshold makes 90%") as refused:
        await run_task(garden, CalibrationTask(path, target="precision"))
    assert re.match(r"\d\d\.\d% at 0\.\d+", refused.value.found or "")
    assert await threshold_of(garden) == 0.9


async def test_too_few_questions_are_refused_with_the_number_needed(
    garden: Resources, data: Path, reader: SureReader
) -> None:
    with pytest.raises(InvalidInput, match="49 questions are too few") as refused:
        await run_task(garden, CalibrationTask(data, limit=49))
    assert "at least 50" in (refused.value.expected or "")
    assert reader.thresholds == []
    assert await threshold_of(garden) == 0.9


async def test_questions_out_of_the_reader_s_depth_are_left_out(garden: Resources, tmp_path: Path) -> None:
    russian = [line | {"question": "Когда сажают томаты? 0.5"} for line in plain_questions()]
    path = write(tmp_path / "mixed.jsonl", plain_questions() + russian[:7])
    assert (await run_task(garden, CalibrationTask(path))).skipped == 7
    with pytest.raises(InvalidInput, match="no confidence for any of the 60"):
        await run_task(garden, CalibrationTask(write(path, russian)))
    few = plain_questions()[10:] + russian
    with pytest.raises(InvalidInput, match=r"too few.*60 others got no confidence"):
        await run_task(garden, CalibrationTask(write(path, few[1:])))


async def test_unknown_collection_and_file_of_another_form_are_refused(
    garden: Resources, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(NotFound):
        await calibrate(garden, "nobody", CalibrationTask(data), lambda *_: None)
    with pytest.raises(InvalidInput, match="line 1"):
        await run_task(garden, CalibrationTask(write(tmp_path / "other.jsonl", [{"_id": "1"}])))


async def test_questions_need_no_passage_unless_it_is_to_be_read(garden: Resources, tmp_path: Path) -> None:
    bare = [{key: line[key] for key in ("id", "question", "answers")} for line in plain_questions()]
    path = write(tmp_path / "bare.jsonl", bare)
    assert (await run_task(garden, CalibrationTask(path))).chosen.f1 == 1.0
    with pytest.raises(InvalidInput, match="no context"):
        await run_task(garden, CalibrationTask(path, gold=True))


async def test_empty_collection_can_only_be_calibrated_on_given_passages(
    garden: Resources, data: Path
) -> None:
    await garden.collections.create("empty")
    with pytest.raises(InvalidInput, match="no documents"):
        await calibrate(garden, "empty", CalibrationTask(data), lambda *_: None)
    found = await calibrate(garden, "empty", CalibrationTask(data, gold=True), lambda *_: None)
    assert found.present.threshold == 0.5  # the decoder's own, since the collection has none
    assert (await garden.collections.get("empty")).settings.refusal_threshold == found.chosen.threshold


async def test_without_a_decoder_there_is_nothing_to_calibrate(resources: Resources, data: Path) -> None:
    await resources.collections.create(NOTES)
    with pytest.raises(FootnoteError, match="no decoder"):
        await run_task(resources, CalibrationTask(data, gold=True))


@pytest.mark.parametrize("at_once", [1, 4])
async def test_decoder_that_chats_is_calibrated_too(
    settings: Settings, models: Models, data: Path, at_once: int
) -> None:
    answerer = Answerer(ChatReader(SureChat()), refuse_below=0.0, depth=CHAT_DEPTH)
    chatting = replace(models, answerer=answerer)
    async with open_resources(settings, chatting) as opened:
        await opened.collections.create(NOTES)
        found = await run_task(opened, CalibrationTask(data, gold=True))
        assert 0.39 < found.chosen.threshold <= 0.6
        assert await threshold_of(opened) == found.chosen.threshold


def test_shown_curve_keeps_both_ends() -> None:
    curve = threshold_curve([ScoredAnswer(i / 1000, 1.0, 0.0) for i in range(999)])
    shown = list(thin(curve))
    assert len(shown) == 20
    assert (shown[0], shown[-1]) == (curve[0], curve[-1])
    assert list(thin(curve[:5])) == curve[:5]


CROPS = ("leek", "bean", "pea", "beet", "kale", "chard", "cress", "radish", "turnip", "parsnip")
MONTHS = ("March", "April", "May", "June")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs commands with the bundled models on a folder with the collection `garden`."""
    place = tmp_path_factory.mktemp("calibrate")
    (place / "garden").mkdir()
    for number, crop in enumerate(CROPS):
        text = f"The {crop} is sown in {MONTHS[number % 4]}.\n"
        (place / "garden" / f"{crop}.txt").write_text(text)
    run = runner(place / "home")
    assert run("ingest", str(place / "garden"), "--collection", "garden").exit_code == 0
    return run


def crop_questions() -> list[dict[str, Any]]:
    known = [
        {
            "id": f"{crop}-{word}",
            "question": f"{word} is the {crop} sown?",
            "answers": [{"text": MONTHS[i % 4]}],
        }
        for i, crop in enumerate(CROPS)
        for word in ("When", "In which month", "What month", "By when")
    ]
    unknown = [
        {"id": f"{crop}-{word}", "question": f"{word} the {crop}?", "answers": [], "is_impossible": True}
        for crop in CROPS
        for word in ("Who discovered", "What is the price of")
    ]
    return known + unknown


def test_command_prints_the_curve_and_sets_the_threshold(run: Run, tmp_path: Path) -> None:
    path = str(write(tmp_path / "crops.jsonl", crop_questions()))
    dry = run("calibrate", "garden", "--data", path, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert dry.stdout.splitlines()[1].split() == [
        "threshold",
        "answered",
        "F1",
        "right",
        "of",
        "the",
        "answers",
    ]
    assert "Nothing was changed" in dry.stdout
    assert read_json(run("collections", "show", "garden", "--json"))["settings"]["refusal_threshold"] is None
    found = read_json(run("calibrate", "garden", "--data", path, "--json"))
    assert found["curve"][0]["answered"] == 1.0
    assert found["chosen"]["f1"] == max(point["f1"] for point in found["curve"])
    stored = read_json(run("collections", "show", "garden", "--json"))["settings"]["refusal_threshold"]
    assert stored == found["chosen"]["threshold"]


def test_command_tells_what_is_wrong_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    few = str(write(tmp_path / "few.jsonl", crop_questions()[:5]))
    before = read_json(run("collections", "show", "garden", "--json"))
    assert_refused(run("calibrate", "garden", "--data", few), "5 questions", "at least 50")
    assert_refused(run("calibrate", "nobody", "--data", few), "nobody")
    assert_refused(run("calibrate", "garden", "--data", str(tmp_path / "none.jsonl")), "none.jsonl")
    assert read_json(run("collections", "show", "garden", "--json")) == before
