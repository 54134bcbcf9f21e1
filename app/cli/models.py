"""`footnote models`: the models in use, and how the bundled encoder is built."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from app.cli.output import AsJson, print_fields, print_json
from app.cli.progress import progress_bar
from embeddings.errors import FootnoteError

if TYPE_CHECKING:
    from embeddings.artifact import ModelManifest
    from training.encoder_conversion import Watcher

commands = typer.Typer(no_args_is_help=True, help="The models that Footnote works with.")


# Of a causal decoder's graph; a bundled one has none of them.
_SHOWN_OF_DECODERS = ("architecture", "context_tokens", "window_tokens", "vocabulary_size", "chat_template")


@commands.command("show")
def show_models(as_json: AsJson = False) -> None:
    """Verify the models in use against their checksums and show what they are."""
    from app.settings import load_settings
    from embeddings.artifact import load_manifest

    settings = load_settings()
    decoder = settings.decoder if settings.decoder_url is None else None
    folders = (settings.encoder, decoder, settings.reranker)
    manifests = [(folder, load_manifest(folder)) for folder in folders if folder is not None]
    remote = None if decoder is not None else {"id": settings.decoder_model, "url": settings.decoder_url}
    if as_json:
        found = [{"folder": str(folder), **manifest_fields(each)} for folder, each in manifests]
        print_json({"models": [*found, {**remote, "kind": "decoder"}] if remote else found})
        return
    for index, (folder, manifest) in enumerate(manifests):
        if index:
            typer.echo()
        print_manifest(folder, manifest)
    if remote is not None:
        typer.echo()
        print_fields([("id", remote["id"]), ("kind", "decoder"), ("server", remote["url"])])


def manifest_fields(manifest: "ModelManifest") -> dict[str, object]:
    """What `--json` shows of a model."""
    import msgspec

    return {"id": manifest.model_id, **msgspec.to_builtins(manifest)}


def print_manifest(folder: Path, manifest: "ModelManifest") -> None:
    """Show a model to a person."""
    spec = manifest.encoder
    longest = manifest.encoder or manifest.reranker
    sizes = ", ".join(map(str, spec.matryoshka_dimensions)) if spec else ""
    print_fields(
        [
            ("id", manifest.model_id),
            ("kind", manifest.kind),
            ("folder", folder),
            ("source", manifest.source),
            ("licence", manifest.licence),
            ("precision", manifest.precision),
            ("dimension", spec and spec.dimension),
            ("smaller dimensions", sizes or None),
            ("max_tokens", longest and longest.max_tokens),
            *((name, manifest.graph[name]) for name in _SHOWN_OF_DECODERS if manifest.graph.get(name)),
            ("pooling", spec and spec.pooling),
            *((f"prompt {name}", repr(prompt)) for name, prompt in (spec.prompts if spec else {}).items()),
            *((f"parity {name}", figure) for name, figure in manifest.parity.items()),
            *((f"sha256 {name}", file.sha256) for name, file in manifest.files.items()),
        ]
    )


@commands.command("build-bundled")
def build_bundled(as_json: AsJson = False) -> None:
    """Convert the bundled encoder from its original weights; fails when its parity gate fails."""
    require_torch("building the encoder")
    from embeddings.artifact import BUNDLED_ENCODER
    from training.encoder_conversion import build_bundled_encoder

    with watching(as_json) as watcher:
        manifest = build_bundled_encoder(watcher=watcher)
    if as_json:
        print_json(manifest_fields(manifest))
    else:
        print_manifest(BUNDLED_ENCODER, manifest)


def require_torch(what: str) -> None:
    """Raise FootnoteError where the extra `train` is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise FootnoteError(
            f"{what} needs packages that are not installed",
            found="no torch",
            expected="the extra `train`",
            next_step="make setup-dev, or pip install 'footnote[train]'",
        )


@contextmanager
def watching(hidden: bool) -> "Iterator[Watcher]":
    """Lines on stderr for the steps and a bar within a long one; neither next to JSON."""
    from training.encoder_conversion import Watcher

    with progress_bar(hidden) as progress:
        yield Watcher(lambda line: None if hidden else typer.echo(line, err=True), progress)
