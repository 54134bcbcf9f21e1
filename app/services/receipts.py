"""The answer to a write, kept in the transaction that writes, so that a repetition gets the same."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.idempotency import Answer, KeyedRequest, keep_answer

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Receipt(Generic[T_contra]):
    """For one keyed request. render: from the result of the write to the answer that the client gets."""

    request: KeyedRequest
    render: Callable[[T_contra], Answer]

    async def keep(self, connection: AsyncConnection, result: T_contra) -> None:
        """Keep the answer. Raises Conflict when another process has answered; nothing may be committed
        then.
        """
        await keep_answer(connection, self.request, self.render(result))


async def keep(receipt: Receipt[T] | None, connection: AsyncConnection, result: T) -> None:
    """Keep the answer of a keyed request; without a receipt there is nothing to keep."""
    if receipt is not None:
        await receipt.keep(connection, result)
