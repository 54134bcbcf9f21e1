"""The models that the settings and the releases name."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from app.doctor.findings import Finding, ok, problem, warning
from app.settings import Settings
from app.snapshots.contents import model_users
from embeddings.artifact import load_manifest
from embeddings.errors import ModelDamaged


@dataclass(slots=True)
class KnownModels:
    """What the examination of the models found out. dimensions: of encoders, by model id.

    default: id of the encoder that the settings name; None when it is damaged.
    """

    dimensions: dict[str, int] = field(default_factory=dict)
    default: str | None = None


def check_models(settings: Settings, encoders: dict[str, bool], known: KnownModels) -> Iterator[Finding]:
    """Every checksum of every model. encoders: folders that releases name, to whether one is in service."""
    for folder, (by_setting, by_release) in model_users(settings, encoders).items():
        in_service = bool(by_setting) or any(encoders[name] for name in by_release)
        check = f"model {'/'.join(by_setting) or folder.name}"
        yield _check_model(check, folder, by_setting, in_service, known)


def _check_model(
    check: str, folder: Path, by_setting: list[str], in_service: bool, known: KnownModels
) -> Finding:
    try:
        manifest = load_manifest(folder)
    except ModelDamaged as error:
        next_step = f"{error.next_step}: {folder}"
        return (problem if in_service else warning)(check, error.message, next_step)
    if manifest.encoder is not None:
        known.dimensions[manifest.model_id] = manifest.encoder.dimension
    if "encoder" in by_setting:
        known.default = manifest.model_id
    return ok(check, f"{manifest.model_id}, every file fits its checksum")
