"""`footnote collections`: create, list, show, set, delete."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.output import AsJson, print_fields, print_json, print_table
from app.cli.session import run_with_encoder, run_without_models
from app.cli.tune import describe_fusion

if TYPE_CHECKING:
    from app.resources import Resources
    from app.services.types import CollectionInfo

commands = typer.Typer(no_args_is_help=True, help="Sets of documents that are searched together.")

OWN_THRESHOLD = -1.0

Name = Annotated[str, typer.Argument(help="Name of the collection.")]


@commands.command("create")
def create_collection(
    name: Name,
    chunk_max_tokens: Annotated[int, typer.Option(help="Longest chunk, in tokens.")] = 200,
    chunk_overlap_tokens: Annotated[int, typer.Option(help="Shared by neighbouring chunks, in tokens.")] = 30,
    refusal_threshold: Annotated[
        float | None,
        typer.Option(
            help="Confidence from 0 to 1 below which there is no answer; default: the decoder's own."
        ),
    ] = None,
    keep_conversations: Annotated[
        bool, typer.Option("--keep-conversations", help="Keep questions and answers.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create an empty collection."""
    from app.services.types import CollectionSettings

    settings = CollectionSettings(
        chunk_max_tokens, chunk_overlap_tokens, refusal_threshold, keep_conversations=keep_conversations
    )
    _print_collection(run_with_encoder(lambda r: r.collections.create(name, settings)), as_json)


@commands.command("list")
def list_collections(as_json: AsJson = False) -> None:
    """List the collections with their sizes."""
    found = run_without_models(lambda r: r.collections.list())
    if as_json:
        print_json({"collections": found})
    elif not found:
        typer.echo("No collections yet: footnote ingest PATH --collection NAME makes one.")
    else:
        print_table(
            ("name", "documents", "chunks"), ((each.name, each.documents, each.chunks) for each in found)
        )


@commands.command("show")
def show_collection(name: Name, as_json: AsJson = False) -> None:
    """Show one collection with its settings."""
    _print_collection(run_without_models(lambda r: r.collections.get(name)), as_json)


@commands.command("set")
def set_collection(
    name: Name,
    refusal_threshold: Annotated[
        float | None,
        typer.Option(help="Confidence from 0 to 1 below which there is no answer; -1: the decoder's own."),
    ] = None,
    prompt: Annotated[
        Path | None, typer.Option(help="TOML or JSON file with the prompt for decoders that chat.")
    ] = None,
    default_prompt: Annotated[
        bool, typer.Option("--default-prompt", help="Go back to the prompts that come with Footnote.")
    ] = False,
    keep_conversations: Annotated[
        bool | None,
        typer.Option("--keep-conversations/--no-keep-conversations", help="Keep questions and answers."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change settings of a collection that need no reindex."""
    from generation.causal.prompt_template import read_prompt

    changes: dict[str, Any] = {}
    if refusal_threshold is not None:
        changes["refusal_threshold"] = None if refusal_threshold == OWN_THRESHOLD else refusal_threshold
    if prompt is not None or default_prompt:
        changes["prompt"] = None if prompt is None else read_prompt(prompt)

    if keep_conversations is not None:
        changes["keep_conversations"] = keep_conversations

    async def change(resources: "Resources") -> "CollectionInfo":
        settings = (await resources.collections.get(name)).settings
        return await resources.collections.update(name, replace(settings, **changes))

    _print_collection(run_with_encoder(change), as_json)


@commands.command("delete")
def delete_collection(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a collection with all its documents."""
    if not yes:
        typer.confirm(f"Delete the collection {name} with all its documents?", abort=True, err=as_json)

    async def delete(resources: "Resources") -> None:
        await resources.collections.delete(name)
        await resources.reclaimer.finish()
        await resources.reclaimer.drop_indexes()

    run_without_models(delete)
    if as_json:
        print_json({"deleted": name})
    else:
        typer.echo(f"Deleted the collection {name}.")


def _print_collection(collection: "CollectionInfo", as_json: bool) -> None:
    if as_json:
        print_json(collection)
        return
    settings = collection.settings
    threshold = settings.refusal_threshold
    print_fields(
        [
            ("name", collection.name),
            ("documents", collection.documents),
            ("chunks", collection.chunks),
            ("chunk_max_tokens", settings.chunk_max_tokens),
            ("chunk_overlap_tokens", settings.chunk_overlap_tokens),
            ("refusal_threshold", "the decoder's own" if threshold is None else threshold),
            ("fusion", None if settings.fusion is None else describe_fusion(settings.fusion)),
            ("prompt", "the shipped ones" if settings.prompt is None else settings.prompt.name),
            ("keep_conversations", "yes" if settings.keep_conversations else None),
            ("engine", collection.engine),
            ("created_at", collection.created_at.isoformat(timespec="seconds")),
            ("updated_at", collection.updated_at.isoformat(timespec="seconds")),
        ]
    )
