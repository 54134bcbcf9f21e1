"""`footnote keys`: the secrets that let clients and browsers in."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from app.cli.output import AsJson, print_json, print_table
from app.cli.session import run_with_database
from embeddings.errors import InvalidInput

if TYPE_CHECKING:
    from app.db.engine import Database
    from app.services.keys import KeyService
    from app.services.sessions import SessionService
    from app.services.types import Scope

T = TypeVar("T")
ScopeOption = Annotated[
    list[str], typer.Option("--scope", metavar="read|write|admin", help="What it may do; repeatable.")
]
Collections = Annotated[
    list[str] | None,
    typer.Option("--collection", "-c", help="Only this collection; repeatable. Without it, all."),
]

commands = typer.Typer(no_args_is_help=True, help="Secrets that let clients and browsers in.")


@commands.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: ScopeOption,
    collection: Collections = None,
    rate_per_minute: Annotated[
        int | None, typer.Option(help="Most requests a minute; without it, the service's own limit.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it this once."""
    scopes = frozenset(map(_parse_scope, scope))
    new = _with_keys(lambda keys: keys.create(name, scopes, collection or None, rate_per_minute))
    _tell_absent(collection or [])
    if as_json:
        print_json(new)
    else:
        typer.echo(new.token)
        typer.echo("Only its hash is stored: copy it now.", err=True)


@commands.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List the keys, without their secrets."""
    found = _with_keys(lambda keys: keys.list())
    if as_json:
        print_json({"keys": found})
        return
    rows = (
        (
            key.id,
            key.name,
            ",".join(sorted(key.scopes)),
            _names(key.collections),
            key.rate_per_minute,
            _time(key.created_at),
            _time(key.revoked_at),
        )
        for key in found
    )
    print_table(("id", "name", "scopes", "collections", "per minute", "created", "revoked"), rows)


@commands.command("revoke")
def revoke_key(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="From `footnote keys list`.")],
    as_json: AsJson = False,
) -> None:
    """Stop a key from working, at once, and with it the page sessions that were opened with it."""
    _with_keys(lambda keys: keys.revoke(key_id))
    if as_json:
        print_json({"revoked": key_id})
    else:
        typer.echo(f"Revoked the key {key_id}.")


@commands.command("page-link")
def make_page_link(
    scope: ScopeOption = ["admin"],  # noqa: B006  typer copies it
    collection: Collections = None,
    address: Annotated[
        str | None,
        typer.Option(help="Where browsers reach the service. Without it, FOOTNOTE_HOST and FOOTNOTE_PORT."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print an address that signs a browser in, once, within 24 hours; the service may be running."""
    scopes = frozenset(map(_parse_scope, scope))
    token = _with_sessions(lambda sessions: sessions.make_link(scopes, collection or None))
    _tell_absent(collection or [])
    link = f"{(address or _own_address()).rstrip('/')}/login?token={token}"
    if as_json:
        print_json({"link": link})
    else:
        typer.echo(link)


@commands.command("sessions")
def list_sessions(as_json: AsJson = False) -> None:
    """List the browsers that are signed in, and the links that nobody has opened yet."""
    found = _with_sessions(lambda sessions: sessions.list())
    if as_json:
        print_json({"sessions": found})
        return
    rows = (
        (
            session.id,
            "link" if session.opened_at is None else "session",
            session.key_id,
            ",".join(sorted(session.scopes)),
            _names(session.collections),
            _time(session.opened_at),
            _time(session.expires_at),
        )
        for session in found
    )
    print_table(("id", "kind", "key", "scopes", "collections", "opened", "expires"), rows)


@commands.command("end-session")
def end_session(
    session_id: Annotated[
        int | None, typer.Argument(metavar="ID", help="From `footnote keys sessions`.")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="All sessions and links.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign a browser out, or take a link back, at once."""
    if (session_id is None) is not everybody:
        raise InvalidInput(
            "say which session, or --all", field="ID", found="both or none", expected="an id or --all"
        )
    ended = _with_sessions(lambda sessions: _end(sessions, session_id))
    if as_json:
        print_json({"ended": ended})
    else:
        typer.echo(f"Ended {ended}.")


async def _end(sessions: "SessionService", session_id: int | None) -> int:
    if session_id is None:
        return await sessions.end_all()
    await sessions.end(session_id)
    return 1


def _with_keys(work: "Callable[[KeyService], Awaitable[T]]") -> T:
    from app.services.keys import KeyService

    return run_with_database(lambda database: work(KeyService(database)))


def _with_sessions(work: "Callable[[SessionService], Awaitable[T]]") -> T:
    from app.services.sessions import SessionService

    return run_with_database(lambda database: work(SessionService(database)))


def _tell_absent(collections: Sequence[str]) -> None:
    """Say which of these are not there yet: it may be meant so, or be a slip."""
    if not collections:
        return
    from app.db.collections import all_collections

    async def names(database: "Database") -> set[str]:
        async with database.read() as connection:
            return {found.name for found in await all_collections(connection)}

    for name in sorted(set(collections) - run_with_database(names)):
        typer.echo(f"There is no collection {name} yet.", err=True)


def _own_address() -> str:
    """Where a browser on this machine reaches the service."""
    from app.settings import load_settings

    settings = load_settings()
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{settings.port}"


def _parse_scope(text: str) -> "Scope":
    from app.services.types import Scope

    try:
        return Scope(text)
    except ValueError as error:
        expected = "one of " + ", ".join(Scope)
        raise InvalidInput(
            f"there is no scope {text!r}", field="--scope", found=text, expected=expected
        ) from error


def _names(collections: frozenset[str] | None) -> str:
    return "all" if collections is None else ",".join(sorted(collections))


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds")
