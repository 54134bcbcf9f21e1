"""`footnote keys`: the secrets that let clients write."""

from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.output import AsJson, print_json, print_table
from app.cli.session import run_with_resources
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from app.services.types import Scope

commands = typer.Typer(no_args_is_help=True, help="Secrets that let clients read, write or administer.")


@commands.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(metavar="read|write|admin", help="What it may do; repeatable.")],
    as_json: AsJson = False,
) -> None:
    """Make a key and print it this once."""
    scopes = frozenset(map(_parse_scope, scope))
    new = run_with_resources(lambda r: r.keys.create(name, scopes))
    if as_json:
        print_json(new)
    else:
        typer.echo(new.token)
        typer.echo("Only its hash is stored: copy it now.", err=True)


@commands.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    found = run_with_resources(lambda r: r.keys.list())
    if as_json:
        print_json({"keys": found})
        return
    rows = (
        (
            key.id,
            key.name,
            ",".join(sorted(key.scopes)),
            key.created_at.isoformat(timespec="seconds"),
            key.revoked_at and key.revoked_at.isoformat(timespec="seconds"),
        )
        for key in found
    )
    print_table(("id", "name", "scopes", "created", "revoked"), rows)


@commands.command("revoke")
def revoke_key(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="From `footnote keys list`.")],
) -> None:
    """Stop a key from working, at once."""
    run_with_resources(lambda r: r.keys.revoke(key_id))
    typer.echo(f"Revoked the key {key_id}.")


def _parse_scope(text: str) -> "Scope":
    from app.services.types import Scope

    try:
        return Scope(text)
    except ValueError as error:
        expected = "one of " + ", ".join(Scope)
        raise InvalidInput(
            f"there is no scope {text!r}", field="--scope", found=text, expected=expected
        ) from error
