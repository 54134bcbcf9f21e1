"""Keys: given out once in plain text, kept as hashes."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.engine import Database
from app.db.models import ApiKey
from app.security import hash_token, make_token, same_hash
from app.services.names import check_collection_name
from app.services.types import KeyInfo, NewKey, Principal, Scope
from embeddings.errors import InvalidInput, NotFound, Unauthenticated

MAX_NAME_CHARS = 100
MAX_RATE_PER_MINUTE = 1_000_000
FIRST_KEY_NAME = "first admin"

_COLUMNS = (
    ApiKey.id,
    ApiKey.name,
    ApiKey.token_hash,
    ApiKey.scopes,
    ApiKey.collections,
    ApiKey.rate_per_minute,
    ApiKey.created_at,
    ApiKey.revoked_at,
)
_IN_FORCE = select(*_COLUMNS).where(ApiKey.token_hash == bindparam("token_hash"), ApiKey.revoked_at.is_(None))


class KeyService:
    """Makes, checks and revokes keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        name: str,
        scopes: Collection[Scope],
        collections: Collection[str] | None = None,
        rate_per_minute: int | None = None,
    ) -> NewKey:
        """Make a key. collections: the only ones that it will see, which need not be there yet; None: all.

        rate_per_minute: of requests; None: the service's own limit. Raises InvalidInput for an empty or long
        name, for no scope, for limits that leave nothing.
        """
        _check_name(name)
        if not scopes:
            expected = "at least one of read, write, admin"
            raise InvalidInput("a key needs a scope", field="scopes", found="none", expected=expected)
        _check_limits(collections, rate_per_minute)
        limits = {
            "collections": None if collections is None else sorted(set(collections)),
            "rate_per_minute": rate_per_minute,
        }
        async with self._database.write() as connection:
            return await _insert(connection, name, frozenset(scopes), limits)

    async def any_in_force(self) -> bool:
        """True when at least one key was made and not revoked."""
        async with self._database.read() as connection:
            found = await connection.execute(select(ApiKey.id).where(ApiKey.revoked_at.is_(None)).limit(1))
            return found.first() is not None

    async def create_first_admin(self) -> NewKey | None:
        """Make an admin key if no key was ever made, else None.

        Revoked keys count, so revoking the last one does not open a door.
        """
        async with self._database.write() as connection:
            if (await connection.execute(select(ApiKey.id).limit(1))).first() is not None:
                return None
            return await _insert(connection, FIRST_KEY_NAME, frozenset({Scope.ADMIN}), {})

    async def verify(self, token: str) -> Principal:
        """Who holds this key. Raises Unauthenticated when it is unknown or revoked."""
        hashed = hash_token(token)
        row = next(iter(await self._database.fetch(_IN_FORCE, {"token_hash": hashed})), None)
        if row is None or not same_hash(row.token_hash, hashed):
            raise Unauthenticated(
                "the key is unknown or revoked",
                field="Authorization",
                found="a key that is not in force",
                expected="Bearer and a key that is in force",
                next_step="make a key with `footnote keys create`",
            )
        return Principal(row.id, row.name, _scopes(row), _collections(row), row.rate_per_minute)

    async def revoke(self, key_id: int) -> None:
        """Make a key useless, at once. Raises NotFound; a key revoked before stays so."""
        now = datetime.now(UTC)
        statement = update(ApiKey).where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
        async with self._database.write() as connection:
            known = await connection.execute(select(ApiKey.id).where(ApiKey.id == key_id))
            if known.first() is None:
                raise NotFound(
                    f"there is no key {key_id}",
                    field="id",
                    found=str(key_id),
                    expected="the id of a key",
                    next_step="list the keys with `footnote keys list`",
                )
            await connection.execute(statement.values(revoked_at=now))

    async def list(self) -> tuple[KeyInfo, ...]:
        """Every key that was ever made, oldest first."""
        async with self._database.read() as connection:
            rows = await connection.execute(select(*_COLUMNS).order_by(ApiKey.id))
            return tuple(_info(row) for row in rows)


async def _insert(
    connection: AsyncConnection, name: str, scopes: frozenset[Scope], limits: Mapping[str, Any]
) -> NewKey:
    token = make_token()
    values = {
        "name": name,
        "token_hash": hash_token(token),
        "scopes": sorted(scopes),
        **limits,
        "created_at": datetime.now(UTC),
        "revoked_at": None,
    }
    row = (await connection.execute(insert(ApiKey).values(values).returning(*_COLUMNS))).one()
    return NewKey(_info(row), token)


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > MAX_NAME_CHARS:
        expected = f"1 to {MAX_NAME_CHARS} characters that say whose key it is"
        raise InvalidInput(
            f"a key's name has {expected}", field="name", found=repr(name[:40]), expected=expected
        )


def _check_limits(collections: Collection[str] | None, rate_per_minute: int | None) -> None:
    if collections is not None:
        if not collections:
            raise InvalidInput(
                "a key for no collection can do nothing",
                field="collections",
                found="none",
                expected="at least one name, or no limit",
            )
        for name in collections:
            check_collection_name(name)
    if rate_per_minute is not None and not 1 <= rate_per_minute <= MAX_RATE_PER_MINUTE:
        expected = f"a whole number from 1 to {MAX_RATE_PER_MINUTE}"
        raise InvalidInput(
            f"a key's rate is {expected} requests per minute",
            field="rate_per_minute",
            found=str(rate_per_minute),
            expected=expected,
        )


def _scopes(row: Row[*tuple[Any, ...]]) -> frozenset[Scope]:
    return frozenset(Scope(scope) for scope in row.scopes)


def _info(row: Row[*tuple[Any, ...]]) -> KeyInfo:
    limits = _collections(row), row.rate_per_minute
    return KeyInfo(row.id, row.name, _scopes(row), *limits, row.created_at, row.revoked_at)


def _collections(row: Row[*tuple[Any, ...]]) -> frozenset[str] | None:
    return None if row.collections is None else frozenset(row.collections)
