"""Rows of page sessions: what lets a browser act without a key in its hands.

A row begins as a link that works once. Opening it puts the hash of a new token, the cookie's, in the place of
the link's, so the link is gone in the same statement that makes the session.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CursorResult, ForeignKey, Row, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import Mapped, mapped_column

from app.db.column_types import Id, Key, text
from app.db.models import NEVER_REUSE_IDS, ApiKey, Model


class PageSession(Model):
    """A link to the page, or the browser that opened it.

    token_hash: SHA-256, hex, of the link's token while opened_at is None, of the cookie's from then on.
    key_id: of the key that was typed into the page; the session may do what the key may, and ends with it.
    None: scopes and collections say what it may.
    """

    __tablename__ = "page_sessions"
    __table_args__ = (NEVER_REUSE_IDS,)

    id: Mapped[Id]
    token_hash: Mapped[str] = mapped_column(text(64), unique=True)
    key_id: Mapped[Key | None] = mapped_column(ForeignKey("api_keys.id"))
    scopes: Mapped[list[str]]
    collections: Mapped[list[str] | None]
    created_at: Mapped[datetime]
    opened_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]


_COLUMNS = (
    PageSession.id,
    PageSession.token_hash,
    PageSession.key_id,
    PageSession.scopes,
    PageSession.collections,
    PageSession.created_at,
    PageSession.opened_at,
    PageSession.expires_at,
)
_KEY_IN_FORCE = or_(PageSession.key_id.is_(None), (ApiKey.id.is_not(None)) & (ApiKey.revoked_at.is_(None)))
# Parameters: token_hash, now. The key's own columns are None for a session without one.
OPEN_SESSION = (
    select(
        *_COLUMNS,
        ApiKey.name.label("key_name"),
        ApiKey.scopes.label("key_scopes"),
        ApiKey.collections.label("key_collections"),
        ApiKey.rate_per_minute.label("key_rate_per_minute"),
    )
    .outerjoin(ApiKey, ApiKey.id == PageSession.key_id)
    .where(
        PageSession.token_hash == bindparam("token_hash"),
        PageSession.opened_at.is_not(None),
        PageSession.expires_at > bindparam("now"),
        _KEY_IN_FORCE,
    )
)


async def insert_session(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """Keep a link or a session; returns its id."""
    made = await connection.execute(insert(PageSession).values(values).returning(PageSession.id))
    return int(made.scalar_one())


async def open_link(
    connection: AsyncConnection, link_hash: str, session_hash: str, now: datetime, expires_at: datetime
) -> bool:
    """Make a session of a link; False when it is unknown, was used, or has expired."""
    statement = (
        update(PageSession)
        .where(PageSession.token_hash == link_hash, PageSession.opened_at.is_(None))
        .where(PageSession.expires_at > now)
        .values(token_hash=session_hash, opened_at=now, expires_at=expires_at)
    )
    return _changed(await connection.execute(statement)) == 1


async def list_sessions(connection: AsyncConnection, now: datetime) -> Sequence[Row[*tuple[Any, ...]]]:
    """Links and sessions that have not expired, oldest first."""
    statement = select(*_COLUMNS).where(PageSession.expires_at > now).order_by(PageSession.id)
    return (await connection.execute(statement)).all()


async def delete_session(connection: AsyncConnection, session_id: int) -> bool:
    """End a session or take a link back; False when there is none."""
    return _changed(await connection.execute(delete(PageSession).where(PageSession.id == session_id))) == 1


async def delete_all_sessions(connection: AsyncConnection) -> int:
    """End every session and take every link back; returns how many."""
    return _changed(await connection.execute(delete(PageSession)))


async def purge_sessions(connection: AsyncConnection, now: datetime) -> None:
    """Forget what has expired."""
    await connection.execute(delete(PageSession).where(PageSession.expires_at <= now))


def _changed(result: CursorResult[Any]) -> int:
    return result.rowcount
