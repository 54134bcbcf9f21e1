"""When a request is worth sending again, and how long to wait before."""

import random
from dataclasses import dataclass

import httpx

from app.client.call import Call
from app.client.failures import retry_after_s

FIRST_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """retries: attempts after the first; max_wait_s: longest pause that a service may ask for."""

    retries: int = 4
    max_wait_s: float = 30.0

    def pause_after_refusal(self, reply: httpx.Response, attempt: int) -> float | None:
        """Seconds to wait when the service had no room (429, 503); None: give the reply to the caller.

        attempt: how many were made, from 1. A request that was refused has done nothing, so any may be sent
        again.
        """
        wait_s = retry_after_s(reply)
        if wait_s is None or attempt > self.retries or wait_s > self.max_wait_s:
            return None
        return _spread(wait_s)

    def pause_after_break(self, call: Call[object], attempt: int) -> float | None:
        """Seconds to wait when the connection failed; None: tell the caller.

        Nobody knows whether the request arrived, so only one that may be repeated is.
        """
        if attempt > self.retries or not call.repeatable:
            return None
        return min(_spread(FIRST_PAUSE_S * 2 ** (attempt - 1)), self.max_wait_s)


def _spread(wait_s: float) -> float:
    """A little more, drawn at random, so that clients refused together do not come back together."""
    return wait_s * (1 + random.random() / 4)  # noqa: S311  # no secret
