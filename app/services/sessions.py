"""Page sessions: how a browser gets in without a key in its hands.

A link works once and for a day; the browser that opens it gets a cookie that is good for a month. As with
keys, only hashes are kept.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row

from app.db.engine import Database
from app.db.sessions import (
    OPEN_SESSION,
    delete_all_sessions,
    delete_session,
    insert_session,
    list_sessions,
    open_link,
    purge_sessions,
)
from app.security import LINK_PREFIX, SESSION_PREFIX, hash_token, make_token
from app.services.names import check_collection_name
from app.services.types import Principal, Scope, SessionInfo
from embeddings.errors import InvalidInput, NotFound, Unauthenticated

LINK_LASTS = timedelta(hours=24)
SESSION_LASTS = timedelta(days=30)
VISITOR = "page visitor"


@dataclass(frozen=True, slots=True)
class NewSession:
    """What the cookie has to hold, and for how many seconds."""

    token: str
    lasts_s: int


class SessionService:
    """Makes links, opens them, and knows who holds a cookie."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make_link(self, scopes: Collection[Scope], collections: Collection[str] | None = None) -> str:
        """The token of a new link, which is shown once. Raises InvalidInput for no scope, or a bad name."""
        if not scopes:
            raise InvalidInput(
                "a link needs a scope", field="scopes", found="none", expected="one of read, write, admin"
            )
        for name in collections or ():
            check_collection_name(name)
        token = make_token(LINK_PREFIX)
        await self._keep(token, sorted(scopes), collections, None, LINK_LASTS)
        return token

    async def open_link(self, token: str) -> NewSession:
        """Turn a link into a session. Raises Unauthenticated for one that is unknown, used or expired."""
        session, now = make_token(SESSION_PREFIX), datetime.now(UTC)
        async with self._database.write() as connection:
            opened = await open_link(
                connection, hash_token(token), hash_token(session), now, now + SESSION_LASTS
            )
        if not opened:
            raise Unauthenticated(
                "this link was used before, has expired or never was one",
                field="token",
                found="a token that opens nothing",
                expected=f"a link that is less than {LINK_LASTS // timedelta(hours=1)} hours old and unused",
                next_step="make another with `footnote keys page-link`",
            )
        return NewSession(session, int(SESSION_LASTS.total_seconds()))

    async def open_with_key(self, holder: Principal) -> NewSession:
        """A session for the holder of a key, which may do what the key may, and ends when that is revoked."""
        if holder.id is None:
            raise ValueError("only the holder of a key opens a session with it")
        token = make_token(SESSION_PREFIX)
        await self._keep(token, sorted(holder.scopes), holder.collections, holder.id, SESSION_LASTS)
        return NewSession(token, int(SESSION_LASTS.total_seconds()))

    async def find(self, token: str) -> Principal | None:
        """Who holds this cookie; None when it is unknown, has expired, or its key was revoked."""
        if not token.startswith(SESSION_PREFIX):
            return None
        parameters = {"token_hash": hash_token(token), "now": datetime.now(UTC)}
        row = next(iter(await self._database.fetch(OPEN_SESSION, parameters)), None)
        return None if row is None else _principal(row)

    async def list(self) -> tuple[SessionInfo, ...]:
        """Links and sessions that are good, oldest first."""
        async with self._database.read() as connection:
            return tuple(_info(row) for row in await list_sessions(connection, datetime.now(UTC)))

    async def end(self, session_id: int) -> None:
        """End a session or take a link back, at once. Raises NotFound."""
        async with self._database.write() as connection:
            if not await delete_session(connection, session_id):
                raise NotFound(
                    f"there is no page session {session_id}",
                    field="id",
                    found=str(session_id),
                    expected="the id of a page session",
                    next_step="list them with `footnote keys sessions`",
                )

    async def end_all(self) -> int:
        """End every session and take every link back; returns how many."""
        async with self._database.write() as connection:
            return await delete_all_sessions(connection)

    async def _keep(
        self,
        token: str,
        scopes: Collection[Scope],
        collections: Collection[str] | None,
        key_id: int | None,
        lasts: timedelta,
    ) -> None:
        now = datetime.now(UTC)
        values = {
            "token_hash": hash_token(token),
            "key_id": key_id,
            "scopes": list(scopes),
            "collections": None if collections is None else sorted(collections),
            "created_at": now,
            "opened_at": None if key_id is None else now,
            "expires_at": now + lasts,
        }
        async with self._database.write() as connection:
            await purge_sessions(connection, now)
            await insert_session(connection, values)


def _principal(row: Row[*tuple[Any, ...]]) -> Principal:
    if row.key_id is None:
        return Principal(None, VISITOR, _scopes(row.scopes), _names(row.collections), None, row.id)
    limits = _names(row.key_collections), row.key_rate_per_minute
    return Principal(row.key_id, row.key_name, _scopes(row.key_scopes), *limits, row.id)


def _info(row: Row[*tuple[Any, ...]]) -> SessionInfo:
    times = row.created_at, row.opened_at, row.expires_at
    return SessionInfo(row.id, row.key_id, _scopes(row.scopes), _names(row.collections), *times)


def _scopes(stored: Collection[str]) -> frozenset[Scope]:
    return frozenset(map(Scope, stored))


def _names(stored: Collection[str] | None) -> frozenset[str] | None:
    return None if stored is None else frozenset(stored)
