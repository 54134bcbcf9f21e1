"""The README.md of a classifier: what it is, what it was trained on, how good it is, its limits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from embeddings.classifier import ClassifierManifest
from training.encoder_card import CARD


def write_classifier_card(folder: Path, manifest: ClassifierManifest) -> None:
    """Write the card into the classifier's folder."""
    (folder / CARD).write_text("\n".join(_lines(manifest)) + "\n", encoding="utf-8")


def _lines(manifest: ClassifierManifest) -> Iterator[str]:
    training = manifest.training
    shots = f", {training['shots']} of each label" if training.get("shots") else ""
    yield f"# {manifest.name}\n"
    yield "Gives a text its label: an encoder, and a softmax regression on its vectors.\n"
    yield f"- Labels: {len(manifest.labels)}: {', '.join(manifest.labels)}"
    yield f"- Source: {manifest.source}"
    yield f"- Licence of the base: {manifest.licence}. What the data allow comes on top."
    yield f"- Trained on: {training['texts']} texts{shots}, seed {training['seed']}"
    yield f"- Encoder: {_encoder(training)}"
    yield f"- Made in {training['seconds']} s\n"
    yield "## Accuracy\n"
    yield from _accuracy(manifest.figures)
    yield "\n## Limits\n"
    yield "- Every text gets one of the labels, also one that fits none: look at the probability."
    yield "- The encoder inside knows these labels; for search use one that was made for it."


def _encoder(training: dict[str, Any]) -> str:
    fitted = training.get("encoder")
    if fitted is None:
        return "as it was"
    return (
        f"{fitted['objective']}, {fitted['steps']} steps, {fitted['tokens']:,} tokens; loss"
        f" {fitted['first_loss']:.3f} to {fitted['last_loss']:.3f}"
    )


def _accuracy(figures: dict[str, Any]) -> Iterator[str]:
    if not figures:
        yield "Not measured: no texts were held out."
        return
    yield f"On {figures['texts']} texts that were not trained on, with 95 % intervals:\n"
    yield "| model | accuracy | macro F1 | -log p | calibration error |"
    yield "| --- | --- | --- | --- | --- |"
    before = figures["bundled_encoder"]
    yield _row("this classifier", figures)
    yield _row("bundled encoder, regression", before["regression"])
    yield _row("bundled encoder, centroids", before["centroids"])


def _row(what: str, row: dict[str, Any]) -> str:
    interval = f"{row['accuracy']:.4f} ({row['low']:.4f} to {row['high']:.4f})"
    rest = (row["macro_f1"], row["log_loss"], row["calibration_error"])
    return f"| {what} | {interval} | " + " | ".join(f"{figure:.4f}" for figure in rest) + " |"
