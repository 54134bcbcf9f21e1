"""Which decoder the settings bring into service."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.program import program
from app.decoders import LoadedDecoder, engine_options, load_decoder
from app.resources import open_resources
from app.services.types import AnswerInput, AnswerOutput, DocumentInput
from app.settings import MIB, Settings, load_settings
from embeddings.errors import InvalidInput, ModelDamaged
from generation.answering import BUNDLED_DEPTH, CHAT_DEPTH
from generation.causal.local import LocalChatModel
from generation.causal.model import CausalModel
from generation.causal.remote import RemoteChatModel
from generation.sampling import SamplingSettings
from tests.generation.causal.openai_stub import delta, serving, stream
from tests.generation.causal.tiny_causal import write_tiny_causal

REMOTE = Settings(decoder_url="http://127.0.0.1:1/v1", decoder_model="qwen3-4b", decoder_key="secret")


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_causal(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="module")
def loaded(causal: Path) -> Iterator[LoadedDecoder]:
    decoder = load_decoder(Settings(decoder=causal, threads=1, decoder_slots=3))
    yield decoder
    assert decoder.engine is not None
    decoder.engine.close()


def test_the_bundled_decoder_copies_one_answer_at_a_time() -> None:
    bundled = load_decoder(Settings(threads=1))
    assert (bundled.chat, bundled.engine, bundled.at_once) == (None, None, 1)
    assert bundled.answerer.depth == BUNDLED_DEPTH
    assert bundled.answerer.refuse_below > 0


def test_a_causal_decoder_is_told_by_its_manifest(loaded: LoadedDecoder) -> None:
    assert isinstance(loaded.chat, LocalChatModel)
    assert loaded.chat.model_id.startswith("tiny-causal@")
    assert loaded.answerer.reader is not None
    assert loaded.answerer.reader.model_id == loaded.chat.model_id
    assert (loaded.answerer.depth, loaded.answerer.refuse_below, loaded.at_once) == (CHAT_DEPTH, 0.0, 3)
    assert loaded.chat.context_tokens == 512  # the model's, which is less than the settings allow


def test_an_address_brings_a_decoder_elsewhere_and_calls_nobody() -> None:
    remote = load_decoder(REMOTE)
    assert isinstance(remote.chat, RemoteChatModel)
    assert (remote.chat.model_id, remote.chat.context_tokens) == ("qwen3-4b", 4096)
    assert remote.engine is None
    assert remote.at_once > 1
    assert "secret" not in repr(REMOTE)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (replace(REMOTE, decoder_model=None), "FOOTNOTE_DECODER_MODEL"),
        (replace(REMOTE, decoder_url="localhost"), "FOOTNOTE_DECODER_URL"),
    ],
)
def test_half_an_address_is_told(settings: Settings, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_decoder(settings)
    assert caught.value.field == field


def test_the_settings_are_read_from_their_variables(tmp_path: Path) -> None:
    given = {"URL": "http://a/v1", "MODEL": "m", "KEY": "k", "TIMEOUT_S": "7", "SLOTS": "2", "KV_MB": "64"}
    settings = load_settings({f"FOOTNOTE_DECODER_{name}": value for name, value in given.items()}, tmp_path)
    assert (settings.decoder_url, settings.decoder_model, settings.decoder_key) == ("http://a/v1", "m", "k")
    assert (settings.decoder_timeout_s, settings.decoder_slots, settings.decoder_kv_mb) == (7, 2, 64)


def test_memory_for_keys_and_values_is_divided_between_slots_and_beginnings(causal: Path) -> None:
    spec = CausalModel.load(causal, threads=1).spec
    options = engine_options(Settings(decoder_kv_mb=100, decoder_context_tokens=128), spec)
    assert options.kv_bytes == 75 * MIB
    assert options.prefix_bytes == 25 * MIB
    assert options.max_tokens == 128
    assert engine_options(Settings(), spec).kv_bytes is None


def test_a_chat_template_that_is_not_jinja_stops_the_start(tmp_path: Path) -> None:
    folder = write_tiny_causal(tmp_path, template="{% for %}")
    with pytest.raises(ModelDamaged, match="chat template"):
        load_decoder(Settings(decoder=folder, threads=1))


async def answer(settings: Settings, question: str) -> AnswerOutput:
    async with open_resources(settings) as resources:
        await resources.collections.create("notes")
        text = "Tomatoes are planted in May. Water them daily."
        await resources.documents.add("notes", [DocumentInput(text, id="garden")])
        wanted = AnswerInput(question, sampling=SamplingSettings(max_tokens=12))
        events = [event async for event in resources.answers.answer("notes", wanted)]
        assert resources.chat.model is resources.models.chat is not None
    if resources.models.engine is not None:
        assert resources.models.engine.statistics().active == 0
    assert isinstance(events[-1], AnswerOutput)
    return events[-1]


async def test_the_service_answers_with_a_causal_decoder_and_closes_it(causal: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", threads=1, decoder=causal, decoder_slots=2)
    output = await answer(settings, "When are tomatoes planted?")
    assert (output.answer.model or "").startswith("tiny-causal@")
    assert output.answer.prompt is not None
    assert output.answer.prompt_tokens > 0


async def test_the_service_answers_with_a_decoder_elsewhere_and_checks_it(tmp_path: Path) -> None:
    said = [delta("Water them daily. [1]"), delta(" They are red. [1]", finish="stop")]
    async with serving(stream(*said)) as stub:
        settings = replace(REMOTE, home=tmp_path / "home", threads=1, decoder_url=stub.url)
        output = await answer(settings, "Как их поливать?")
    found = output.answer
    assert [(each.text, each.supported) for each in found.sentences] == [
        ("Water them daily.", True),
        ("They are red.", False),
    ]
    assert [citation.quote for citation in found.citations] == ["Water them daily."]
    assert (found.model, found.prompt and found.prompt.template) == ("qwen3-4b", "cited-ru")
    assert "[1] Tomatoes are planted in May." in stub.bodies[0]["messages"][-1]["content"]


def shown_models(**settings: str) -> str:
    environ = {f"FOOTNOTE_{name.upper()}": value for name, value in settings.items()}
    result = CliRunner().invoke(program, ["models", "show"], env=environ)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_line_shows_the_decoder_that_serves(causal: Path) -> None:
    here = shown_models(decoder=str(causal))
    assert re.search(r"architecture:\s+tiny", here)
    assert re.search(r"context_tokens:\s+512", here)
    elsewhere = shown_models(decoder_url="http://127.0.0.1:1/v1", decoder_model="qwen3-4b")
    assert re.search(r"id:\s+qwen3-4b\nkind:\s+decoder\nserver:\s+http://127.0.0.1:1/v1", elsewhere)
    assert "context_tokens" not in elsewhere


def test_the_command_line_asks_a_causal_decoder(causal: Path, tmp_path: Path) -> None:
    environ = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_DECODER": str(causal)}
    (tmp_path / "garden.md").write_text("Tomatoes are planted in May. Water them daily.")

    def run(*words: str) -> str:
        result = CliRunner().invoke(program, list(words), env=environ | {"FOOTNOTE_THREADS": "1"})
        assert result.exit_code == 0, result.output
        return result.output

    run("ingest", str(tmp_path / "garden.md"), "--collection", "notes")
    reply = json.loads(run("ask", "How often?", "--collection", "notes", "--max-tokens", "9", "--json"))
    assert reply["model"].startswith("tiny-causal@")
    assert reply["prompt"]["passages"] == 1
