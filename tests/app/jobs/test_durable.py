import sqlite3

import pytest
from sqlalchemy.exc import OperationalError

from app.jobs.durable import DurableAttempts
from embeddings.errors import Overloaded


class LockedDbos:
    """Does the step, and cannot write down what it gave."""

    async def run_step_async(self, options, work):
        await work()
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))


async def test_step_that_cannot_be_written_down_puts_the_job_off_and_does_not_fail_it() -> None:
    attempts = DurableAttempts.__new__(DurableAttempts)
    attempts._dbos = LockedDbos()
    done = []

    async def work() -> None:
        done.append("once")

    with pytest.raises(Overloaded):
        await attempts._run_step("step", work)
    assert done == ["once"]
