import pytest

from app.resources import Resources
from app.services.types import Scope
from embeddings.errors import InvalidInput, NotFound, Unauthenticated
from tests.app.stored import dump


async def test_key_is_verified_with_its_scopes(resources: Resources) -> None:
    made = await resources.keys.create("robot", {Scope.WRITE})
    principal = await resources.keys.verify(made.token)
    assert (principal.id, principal.name) == (made.info.id, "robot")
    assert [principal.allows(scope) for scope in Scope] == [True, True, False]


async def test_token_is_not_in_the_database(resources: Resources) -> None:
    made = await resources.keys.create("robot", {Scope.READ})
    stored = dump(resources)
    assert "robot" in stored
    assert made.token not in stored
    assert made.token.removeprefix("fn_") not in stored


async def test_tokens_differ_and_say_whose_they_are(resources: Resources) -> None:
    tokens = {(await resources.keys.create("robot", {Scope.READ})).token for _ in range(5)}
    assert len(tokens) == 5
    assert all(token.startswith("fn_") and len(token) == 46 for token in tokens)


@pytest.mark.parametrize("token", ["", "fn_", "fn_" + "A" * 43, "Bearer", "ключ", "\ud800"])
async def test_unknown_token_is_refused(resources: Resources, token: str) -> None:
    await resources.keys.create("robot", {Scope.ADMIN})
    with pytest.raises(Unauthenticated):
        await resources.keys.verify(token)


async def test_revoked_key_is_refused_and_stays_listed(resources: Resources) -> None:
    made = await resources.keys.create("robot", {Scope.ADMIN})
    await resources.keys.revoke(made.info.id)
    with pytest.raises(Unauthenticated):
        await resources.keys.verify(made.token)
    (listed,) = await resources.keys.list()
    assert listed.revoked_at is not None
    assert listed.revoked_at.tzinfo is not None


async def test_unknown_key_cannot_be_revoked(resources: Resources) -> None:
    with pytest.raises(NotFound):
        await resources.keys.revoke(1)


async def test_first_admin_key_is_made_once_even_after_it_was_revoked(resources: Resources) -> None:
    first = await resources.keys.create_first_admin()
    assert first is not None
    assert (await resources.keys.verify(first.token)).allows(Scope.ADMIN)
    await resources.keys.revoke(first.info.id)
    assert await resources.keys.create_first_admin() is None


@pytest.mark.parametrize(("name", "scopes", "field"), [("", {"read"}, "name"), ("x", set(), "scopes")])
async def test_key_needs_a_name_and_a_scope(
    resources: Resources, name: str, scopes: set[Scope], field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await resources.keys.create(name, scopes)
    assert caught.value.field == field
    assert await resources.keys.list() == ()


async def test_key_keeps_its_limits(resources: Resources) -> None:
    made = await resources.keys.create("robot", {Scope.READ}, ["wiki", "notes", "wiki"], 30)
    principal = await resources.keys.verify(made.token)
    assert principal.collections == made.info.collections == frozenset({"notes", "wiki"})
    assert principal.rate_per_minute == 30
    assert [principal.may_see(name) for name in ("notes", "other", None)] == [True, False, False]
    assert principal.identity == str(made.info.id)


async def test_key_without_limits_sees_everything(resources: Resources) -> None:
    principal = await resources.keys.verify((await resources.keys.create("robot", {Scope.READ})).token)
    assert (principal.collections, principal.rate_per_minute) == (None, None)
    assert principal.may_see("other")
    assert principal.may_see(None)


@pytest.mark.parametrize(
    ("collections", "rate", "field"),
    [([], None, "collections"), (["../notes"], None, "name"), (None, 0, "rate_per_minute"),
     (None, -1, "rate_per_minute"), (None, 10**9, "rate_per_minute")],
)  # fmt: skip
async def test_limits_that_leave_nothing_are_refused(
    resources: Resources, collections: list[str] | None, rate: int | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await resources.keys.create("robot", {Scope.READ}, collections, rate)
    assert caught.value.field == field


async def test_only_a_key_that_was_not_revoked_is_in_force(resources: Resources) -> None:
    assert not await resources.keys.any_in_force()
    made = await resources.keys.create("robot", {Scope.READ})
    assert await resources.keys.any_in_force()
    await resources.keys.revoke(made.info.id)
    assert not await resources.keys.any_in_force()
