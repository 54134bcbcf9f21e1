"""`footnote models`: the encoder and the decoder in use, and how the bundled encoder is built."""

import importlib.util
from typing import TYPE_CHECKING

import typer

from app.cli.output import AsJson, print_fields, print_json
from embeddings.errors import FootnoteError

if TYPE_CHECKING:
    from pathlib import Path

    from embeddings.artifact import ModelManifest

commands = typer.Typer(no_args_is_help=True, help="The models that Footnote works with.")


@commands.command("show")
def show_models(as_json: AsJson = False) -> None:
    """Verify the models in use against their checksums and show what they are."""
    from app.settings import load_settings
    from embeddings.artifact import load_manifest

    settings = load_settings()
    manifests = [(folder, load_manifest(folder)) for folder in (settings.encoder, settings.decoder)]
    if as_json:
        print_json({"models": [{"folder": str(folder), **_fields(each)} for folder, each in manifests]})
        return
    for index, (folder, manifest) in enumerate(manifests):
        if index:
            typer.echo()
        _print_manifest(folder, manifest)


def _fields(manifest: "ModelManifest") -> dict[str, object]:
    import msgspec

    return {"id": manifest.model_id, **msgspec.to_builtins(manifest)}


def _print_manifest(folder: "Path", manifest: "ModelManifest") -> None:
    spec = manifest.encoder
    print_fields(
        [
            ("id", manifest.model_id),
            ("kind", manifest.kind),
            ("folder", folder),
            ("source", manifest.source),
            ("licence", manifest.licence),
            ("precision", manifest.precision),
            ("dimension", spec and spec.dimension),
            ("max_tokens", spec and spec.max_tokens),
            *((f"parity {name}", figure) for name, figure in manifest.parity.items()),
            *((f"sha256 {name}", file.sha256) for name, file in manifest.files.items()),
        ]
    )


@commands.command("build-bundled")
def build_bundled(as_json: AsJson = False) -> None:
    """Convert the bundled encoder from its original weights; fails when its parity gate fails."""
    if importlib.util.find_spec("torch") is None:
        raise FootnoteError(
            "building the encoder needs packages that are not installed",
            found="no torch",
            expected="the development environment",
            next_step="make setup-dev",
        )
    from embeddings.artifact import BUNDLED_ENCODER
    from training.encoder_export import build_bundled_encoder

    manifest = build_bundled_encoder()
    if as_json:
        print_json(_fields(manifest))
    else:
        _print_manifest(BUNDLED_ENCODER, manifest)
