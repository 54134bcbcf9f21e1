"""Classifiers of the data folder, and labels from examples."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.encoders import MODELS, LoadedEncoder
from app.resources import Models, Resources
from app.services import classification
from app.services.classification import ClassificationService, Example
from app.settings import Settings
from embeddings.classifier import CLASSIFIER, HEAD, ManifestFields, centroid_head, write_classifier
from embeddings.errors import InvalidInput, ModelDamaged, NotFound
from embeddings.vectors import unit_rows
from tests.app.hashing_encoder import HashingEncoder

EXAMPLES = (
    Example("card card arrival", "card"),
    Example("card payment", "card"),
    Example("loan loan interest", "loan"),
    Example("loan costs", "loan"),
)


def make_classifier(home: Path, name: str, examples: Sequence[Example] = EXAMPLES) -> str:
    """A classifier on the hashing encoder. Returns its id."""
    folder = home / MODELS / name
    folder.mkdir(parents=True, exist_ok=True)
    encoder = HashingEncoder()
    tokens = encoder.tokenize([each.text for each in examples], "", "start")
    head = centroid_head(
        unit_rows(encoder.run([each.ids for each in tokens])), [each.label for each in examples]
    )
    fields = ManifestFields(name, "tests", "Apache-2.0", encoder.model_id, "", {})
    return write_classifier(folder, head, fields).classifier_id


class Loads:
    """Loads hashing encoders and counts them."""

    def __init__(self, tokenizer: Path) -> None:
        self.folders: list[Path] = []
        self._tokenizer = tokenizer

    def __call__(self, folder: Path) -> LoadedEncoder:
        self.folders.append(folder)
        return LoadedEncoder(HashingEncoder(), self._tokenizer)


@pytest.fixture
def loads(models: Models) -> Loads:
    return Loads(models.tokenizer)


@pytest.fixture
def service(resources: Resources, settings: Settings, loads: Loads) -> ClassificationService:
    return ClassificationService(settings, resources.encoding, loads)


async def test_a_text_gets_the_label_of_its_like(service: ClassificationService, settings: Settings) -> None:
    made = make_classifier(settings.home, "intents")
    found = await service.classify("intents", ["card", "loan"])
    assert found.model == made
    assert [each.labels[0].label for each in found.texts] == ["card", "loan"]
    for text in found.texts:
        assert sum(each.probability for each in text.labels) == pytest.approx(1)
        assert text.labels[0].probability >= text.labels[1].probability


async def test_only_so_many_labels_are_given(service: ClassificationService, settings: Settings) -> None:
    make_classifier(settings.home, "intents")
    assert [len(each.labels) for each in (await service.classify("intents", ["card"], 1)).texts] == [1]


async def test_a_classifier_answers_to_its_id_and_to_no_other(
    service: ClassificationService, settings: Settings
) -> None:
    made = make_classifier(settings.home, "intents")
    assert (await service.classify(made, ["card"])).model == made
    for wrong in ("intents@000000000000", "other", "../models/intents", "", "..", "intents/"):
        with pytest.raises(NotFound) as error:
            await service.classify(wrong, ["card"])
        assert error.value.expected == "intents"


async def test_an_encoder_is_loaded_once_until_the_classifier_is_made_again(
    service: ClassificationService, settings: Settings, loads: Loads
) -> None:
    make_classifier(settings.home, "intents")
    await service.classify("intents", ["card"])
    await service.classify("intents", ["loan"])
    assert len(loads.folders) == 1
    turned = [Example(each.text, {"card": "loan", "loan": "card"}[each.label]) for each in EXAMPLES]
    made = make_classifier(settings.home, "intents", turned)
    found = await service.classify("intents", ["card"])
    assert (found.model, found.texts[0].labels[0].label) == (made, "loan")
    assert len(loads.folders) == 2


async def test_the_classifier_asked_least_recently_is_closed(
    service: ClassificationService, settings: Settings, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classification, "MAX_OPEN", 2)
    for name in ("a", "b", "c"):
        make_classifier(settings.home, name)
    for name in ("a", "b", "a", "c", "a", "b"):
        await service.classify(name, ["card"])
    assert [folder.parent.name for folder in loads.folders] == ["a", "b", "c", "b"]


async def test_requests_at_once_load_a_classifier_once(
    service: ClassificationService, settings: Settings, loads: Loads
) -> None:
    make_classifier(settings.home, "intents")
    await asyncio.gather(*(service.classify("intents", ["card"]) for _ in range(5)))
    assert len(loads.folders) == 1


async def test_a_damaged_classifier_is_refused_and_not_listed(
    service: ClassificationService, settings: Settings
) -> None:
    make_classifier(settings.home, "good")
    make_classifier(settings.home, "headless")
    make_classifier(settings.home, "broken")
    (settings.home / MODELS / "headless" / HEAD).write_bytes(b"")
    (settings.home / MODELS / "broken" / CLASSIFIER).write_text("{")
    assert [each.name for each in await service.list()] == ["good", "headless"]
    for name in ("headless", "broken"):
        with pytest.raises(ModelDamaged):
            await service.classify(name, ["card"])


async def test_examples_stand_in_for_a_classifier(service: ClassificationService) -> None:
    found = await service.classify_like(EXAMPLES, ["card", "loan"])
    assert [each.labels[0].label for each in found.texts] == ["card", "loan"]
    assert found.model == "hashing@1"


async def test_examples_of_one_label_are_refused(service: ClassificationService) -> None:
    with pytest.raises(InvalidInput):
        await service.classify_like(EXAMPLES[:2], ["card"])


async def test_a_text_that_was_cut_says_so(service: ClassificationService) -> None:
    found = await service.classify_like(EXAMPLES, ["card", "card " * 300])
    assert [each.truncated for each in found.texts] == [False, True]
