"""`footnote classify`: labels for texts, by a classifier that `footnote train classifier` made."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, one_line, print_json, print_table

if TYPE_CHECKING:
    from embeddings.classifier import ClassifierManifest

_SHOWN_CHARACTERS = 60


def classify(
    classifier: Annotated[
        str | None, typer.Argument(help="Name of a classifier; without one they are listed.")
    ] = None,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts to give labels to.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many labels to show for each text.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Give texts their labels, or list the classifiers."""
    from app.settings import load_settings

    settings = load_settings()
    if classifier is None:
        _list(settings.home, as_json)
    else:
        _classify(settings.home, settings.threads, classifier, texts or [], top, as_json)


def _list(home: Path, as_json: bool) -> None:
    from app.services.classification import list_classifiers

    found = list_classifiers(home)
    if as_json:
        print_json({"classifiers": [{"id": each.classifier_id, **_fields(each)} for each in found]})
        return
    if not found:
        typer.echo("There is no classifier. Make one with: footnote train classifier --data FILE --name NAME")
        return
    print_table(("name", "labels", "accuracy", "id"), [_row(each) for each in found])


def _fields(manifest: "ClassifierManifest") -> dict[str, object]:
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(manifest)
    return fields


def _row(manifest: "ClassifierManifest") -> tuple[object, ...]:
    accuracy = manifest.figures.get("accuracy")
    shown = None if accuracy is None else f"{accuracy:.3f}"
    return manifest.name, len(manifest.labels), shown, manifest.classifier_id


def _classify(home: Path, threads: int, given: str, texts: list[str], top: int, as_json: bool) -> None:
    from app.services.classification import find_classifier
    from embeddings.classifier import Classifier
    from embeddings.errors import InvalidInput

    folder = find_classifier(home, given)
    if not texts:
        raise InvalidInput("there is no text to classify", field="TEXTS", expected="at least one text")
    classifier = Classifier.load(folder, threads)
    labels = classifier.head.labels
    results = [
        [(labels[place], float(row[place])) for place in (-row).argsort(kind="stable")[:top]]
        for row in classifier.probabilities(texts)
    ]
    if as_json:
        _print_json(classifier.manifest.classifier_id, texts, results)
    else:
        rows = [
            (one_line(text, _SHOWN_CHARACTERS), label, f"{probability:.3f}")
            for text, found in zip(texts, results, strict=True)
            for label, probability in found
        ]
        print_table(("text", "label", "probability"), rows)


def _print_json(model: str, texts: list[str], results: list[list[tuple[str, float]]]) -> None:
    shown = [
        {"text": text, "labels": [{"label": label, "probability": share} for label, share in found]}
        for text, found in zip(texts, results, strict=True)
    ]
    print_json({"model": model, "results": shown})
