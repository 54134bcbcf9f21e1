"""The playground over HTTP, with a decoder that chats."""

import json
from dataclasses import replace
from typing import Any

import pytest
from httpx import AsyncClient as Client

from app.pages.playground import PlaygroundRequest
from app.pages.playground_settings import setting_groups
from app.pages.translations import translations_of
from app.resources import Models, Resources
from app.services.types import Scope
from embeddings.errors import Overloaded
from generation.answering import CHAT_DEPTH, NEVER_REFUSE, Answerer
from generation.causal.chat_reader import ChatReader
from generation.causal.spec import GenerationDefaults
from generation.reader import UNHONOURED
from tests.app.http.scripted_chat import ScriptedChatModel

Events = list[tuple[str, Any]]


@pytest.fixture
def decoder() -> ScriptedChatModel:
    made = ScriptedChatModel()
    made.context_tokens = 4000
    return made


@pytest.fixture
def models(models: Models, decoder: ScriptedChatModel) -> Models:
    answerer = Answerer(ChatReader(decoder), refuse_below=NEVER_REFUSE, depth=CHAT_DEPTH)
    return replace(models, chat=decoder, answerer=answerer)


async def run(client: Client, **asked: Any) -> Events:
    reply = await client.post("/playground/runs", json={"kind": "chat", "prompt": "When?", **asked})
    assert reply.status_code == 200, reply.text
    frames = [frame.split("\n") for frame in reply.text.split("\n\n") if frame.startswith("event: ")]
    return [(name[7:], json.loads(data[6:])) for name, data in frames]


def tokens_of(events: Events) -> list[Any]:
    return [token for name, data in events if name == "tokens" for token in data["tokens"]]


async def test_the_page_offers_what_the_decoder_honours(client: Client) -> None:
    page = (await client.get("/playground")).text
    for name in ("temperature", "top_k", "min_p", "typical_p", "repetition_penalty", "best_of", "logit_bias"):
        assert f'name="{name}"' in page
    assert 'value="completion"' in page
    assert 'value="text"' not in page


async def test_tokens_come_with_probability_and_alternatives(client: Client) -> None:
    events = await run(client, logprobs=2, system="Be brief.")
    tokens = tokens_of(events)
    assert [token["t"] for token in tokens] == ["Plant", " помидоры", " 在五月", "."]
    assert all(token["p"] == pytest.approx(0.60653, abs=1e-4) for token in tokens)
    assert [len(token["top"]) for token in tokens] == [2, 2, 2, 2]
    assert [name for name, _ in events[-3:]] == ["choice", "usage", "ended"]


async def test_settings_reach_the_decoder(client: Client, decoder: ScriptedChatModel) -> None:
    await run(client, temperature=0.7, seed=4, max_tokens=3, stop=["\n"], no_repeat_ngram_size=2, n=2)
    (settings,) = decoder.settings
    assert (settings.temperature, settings.seed, settings.max_tokens) == (0.7, 4, 3)
    assert (settings.stop, settings.no_repeat_ngram, settings.n, settings.logprobs) == (("\n",), 2, 2, 5)


async def test_beams_tell_no_probabilities(client: Client, decoder: ScriptedChatModel) -> None:
    events = await run(client, use_beam_search=True, best_of=3)
    assert decoder.settings[0].beams == 3
    assert all("p" not in token for token in tokens_of(events))


async def test_a_text_is_gone_on_with(client: Client, decoder: ScriptedChatModel) -> None:
    await run(client, kind="completion", prompt="Tomatoes are")
    assert decoder.prompts == ["Tomatoes are"]


async def test_a_question_shows_passages_and_prompt_first(client: Client, garden: str) -> None:
    events = await run(client, kind="collection", collection="garden", prompt="When do I plant tomatoes?")
    names = [name for name, _ in events]
    assert names[:2] == ["passages", "prompt"]
    passages, prompt = events[0][1], events[1][1]
    assert passages[0]["title"] == "Tomatoes"
    assert "middle of May" in prompt["messages"][-1]["content"]
    assert tokens_of(events)


async def test_a_value_out_of_range_is_refused_by_its_name(client: Client) -> None:
    asked = {"kind": "chat", "prompt": "When?", "temperature": 9}
    reply = await client.post("/playground/runs", json=asked, headers={"HX-Request": "true"})
    assert reply.status_code == 422
    assert "temperature is 9" in reply.text
    assert 'class="notice problem"' in reply.text


async def test_a_failure_on_the_way_is_told_at_its_place(client: Client, decoder: ScriptedChatModel) -> None:
    decoder.fails, decoder.fails_after = Overloaded("the <decoder> is gone"), 2
    events = await run(client)
    assert [name for name, _ in events] == ["tokens", "tokens", "error"]
    assert "the &lt;decoder&gt; is gone" in events[-1][1]


async def test_a_collection_that_a_key_may_not_see_is_not_there(
    client: Client, resources: Resources, garden: str
) -> None:
    key = await resources.keys.create("narrow", [Scope.READ], ["elsewhere"])
    headers = {"Authorization": f"Bearer {key.token}"}
    asked = {"kind": "collection", "collection": garden, "prompt": "When?"}
    assert (await client.post("/playground/runs", json=asked, headers=headers)).status_code == 404
    page = await client.get("/playground", headers=headers)
    assert f"<option>{garden}</option>" not in page.text


async def test_a_copying_decoder_takes_no_messages(client: Client, decoder: ScriptedChatModel) -> None:
    asked = {"kind": "text", "prompt": "When?", "text": "In May."}
    reply = await client.post("/playground/runs", json=asked)
    assert reply.status_code == 422
    assert not decoder.settings


def test_every_setting_is_a_field_of_a_run() -> None:
    names = {each.name for group in setting_groups((), GenerationDefaults()) for each in group.settings}
    assert names <= set(PlaygroundRequest.__struct_fields__)


def test_published_values_are_the_defaults() -> None:
    groups = setting_groups((), GenerationDefaults(temperature=0.6, top_k=20))
    defaults = {each.name: each.default for group in groups for each in group.settings}
    assert (defaults["temperature"], defaults["top_k"], defaults["top_p"]) == ("0.6", "20", "1")


def test_what_a_decoder_cannot_honour_is_not_offered() -> None:
    names = {
        each.name for group in setting_groups(UNHONOURED, GenerationDefaults()) for each in group.settings
    }
    assert names == {
        "temperature", "seed", "top_k", "top_p", "min_p", "typical_p", "max_tokens", "stop", "logprobs",
    }  # fmt: skip


def test_every_text_of_the_settings_is_translated() -> None:
    russian = translations_of("ru")
    groups = setting_groups((), GenerationDefaults())
    texts = {group.title for group in groups}
    texts |= {text for group in groups for each in group.settings for text in (each.label, each.note)}
    same = {text for text in texts if russian.gettext(text) == text}
    assert same == {"Top k", "Top p", "Min p", "Typical p"}
