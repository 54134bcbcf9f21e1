"""From what is wanted of a training to a plan that needs nothing more."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from app.services.release_types import Release
from app.settings import Settings
from embeddings.artifact import BUNDLED_ENCODER
from embeddings.errors import InvalidInput
from training.siamese.folder import CHECKPOINT
from training.siamese.plan import TrainingPlan, parse_plan


def make_plan(settings: Settings, folder: Path, name: str, overrides: Mapping[str, Any]) -> TrainingPlan:
    """The plan for a better encoder than the one in this folder. Raises InvalidInput."""
    if "in_service" in overrides:
        raise InvalidInput(
            "the plan may not say which encoder is in service",
            field="plan.in_service",
            found=str(overrides["in_service"]),
            expected="nothing: it is that of the collection, or of FOOTNOTE_ENCODER",
        )
    values = {"threads": settings.threads_for_training, **overrides, "name": name}
    if "base" not in overrides:
        values["base"] = _base_of(folder)
    values["in_service"] = None if _is_bundled(folder) else str(folder)
    plan = parse_plan(msgspec.json.encode(values))
    _check_places(plan)
    return plan


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the changes in them, level by level."""
    result = dict(values)
    for key, value in changes.items():
        before = result.get(key)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        result[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return result


def encoder_folder(settings: Settings, release: Release) -> Path:
    """The folder of a release's encoder."""
    folder = settings.encoder if release.encoder is None else settings.home / release.encoder
    return folder.resolve()


def _base_of(folder: Path) -> str | None:
    """What can be trained of the encoder in a folder; None: the weights that the bundled one was made of."""
    if (folder / CHECKPOINT).is_dir():
        return str(folder / CHECKPOINT)
    if _is_bundled(folder):
        return None
    raise InvalidInput(
        "the encoder in service was converted from a model that is not here",
        field="plan.base",
        found=str(folder),
        expected="the folder of the original model, as sentence-transformers opens it",
        next_step="give that folder as `base` of the plan, or with --base",
    )


def _is_bundled(folder: Path) -> bool:
    return folder == BUNDLED_ENCODER.resolve()


def _check_places(plan: TrainingPlan) -> None:
    """Raise InvalidInput for a path that would mean another place to the worker, or a base that is none."""
    named = {"sources": plan.sources, "general": plan.general, "base": (plan.base,) if plan.base else ()}
    for field, places in named.items():
        for place in places:
            if not Path(place).is_absolute():
                raise _misplaced(field, place, "an absolute path on this machine")
    if plan.base is not None and not Path(plan.base).is_dir():
        raise _misplaced("base", plan.base, "a folder that is there")


def _misplaced(field: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"plan.{field}: found {found}; expected {expected}",
        field=f"plan.{field}",
        found=found,
        expected=expected,
    )
