"""`footnote train encoder`: a better encoder from a collection, or from files of examples."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.output import AsJson
from app.cli.ray import RayAddress
from embeddings.errors import InvalidInput


def train_encoder(  # noqa: PLR0913, PLR0917 - the options of one training
    collection: Annotated[
        str | None, typer.Option("--collection", "-c", help="Train on this collection, in a job.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="A file of examples, or a folder in BEIR form: FOLDER or FOLDER:SPLIT. Repeatable."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the new model; needed without --collection.")] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="A folder of sentence-transformers to start from; default: as in service."),
    ] = None,
    plan: Annotated[Path | None, typer.Option(help="A JSON file with settings of the training.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting: optimisation.epochs=1. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Train and judge; make no release.")] = False,
    promote: Annotated[
        bool, typer.Option("--promote", help="Put it in service by itself when it is better.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Of a job: follow it to its end.")] = True,
    ray: RayAddress = None,
    ray_workers: Annotated[
        int, typer.Option(min=1, help="With --ray: workers that train together; 1: this process alone.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Train a better encoder, and compare it with the one in service on questions that it has not seen.

    With --collection it is a job: it learns from the documents, from feedback and from --data, and a better
    encoder becomes a release. Without, it learns from --data alone and leaves a model in a folder. The same
    command goes on with a training that was interrupted.
    """
    overrides = _overrides(plan, set_ or (), data or (), base)
    if collection is None:
        if dry_run or promote or not data:
            raise InvalidInput(
                "a training without a collection needs examples, and makes no release",
                field="--collection",
                found="no --data" if not data else "--dry-run or --promote",
                expected="--collection NAME, or --data PATH alone",
            )
        from app.cli.train_folder import train_in_folder

        train_in_folder(name, overrides, ray, ray_workers, as_json)
    elif ray is not None:
        raise InvalidInput(
            "a training of a collection is a job, and its worker knows the cluster",
            field="--ray",
            found=ray,
            expected="the worker's setting FOOTNOTE_RAY_ADDRESS",
            next_step="set it where the worker runs, or train on --data without --collection",
        )
    else:
        from app.cli.train_collection import train_collection
        from app.services.training_types import Promotion, TrainingInput

        promotion = Promotion.GATE if promote else Promotion.NEVER
        train_collection(collection, TrainingInput(name, promotion, dry_run, overrides), wait, as_json)


def _overrides(plan: Path | None, settings: Sequence[str], data: Sequence[str], base: Path | None) -> Any:
    """What shall not be as usual: of the file, then of --set, then of the other options."""
    from app.services.training_plan import merged

    values = {} if plan is None else _read_plan(plan)
    for setting in settings:
        values = merged(values, _nested(setting))
    if data:
        values["sources"] = [*values.get("sources", ()), *(_absolute(each) for each in data)]
    if base is not None:
        values["base"] = str(base.expanduser().resolve())
    return values


def _read_plan(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _bad_plan(path, str(error)) from error
    if not isinstance(values, dict):
        raise _bad_plan(path, type(values).__name__)
    return values


def _bad_plan(path: Path, found: str) -> InvalidInput:
    return InvalidInput(
        f"{path} is no plan: {found}", field="--plan", found=found, expected="a JSON object in UTF-8"
    )


def _nested(setting: str) -> dict[str, Any]:
    """`a.b=1` as {"a": {"b": 1}}; a value that reads as JSON is JSON, any other is text."""
    key, equals, text = setting.partition("=")
    if not key or not equals:
        raise InvalidInput(
            f"--set {setting!r} has no key and value",
            field="--set",
            found=setting,
            expected="key=value, for example optimisation.epochs=1",
        )
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = text
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _absolute(source: str) -> str:
    """The same place for a process that works in another folder. A split follows the last colon."""
    folder, colon, split = source.rpartition(":")
    if colon and not Path(source).exists():
        return f"{Path(folder).expanduser().resolve()}:{split}"
    return str(Path(source).expanduser().resolve())
