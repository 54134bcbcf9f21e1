from app.http.limits_connections import HEAD_TIMEOUT_S, STALL_TIMEOUT_S, SlowConnections
from tests.app.test_overload import Clock


class Cycle:
    """uvicorn's object of one request."""

    def __init__(self, response_complete: bool) -> None:
        self.response_complete = response_complete


class Connection:
    """As much of uvicorn's connection, with its transport, as is looked at."""

    def __init__(self, cycle: Cycle | None = None, unread: int = 0) -> None:
        self.cycle = cycle
        self.unread = unread
        self.aborted = False
        self.transport = self

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


def watch(clock: Clock, connections: list[Connection], seconds: float, slow: SlowConnections) -> None:
    for _ in range(int(seconds)):
        slow.look(connections)
        clock.now += 1


def test_a_head_that_does_not_come_costs_the_connection() -> None:
    clock, silent, working = Clock(), Connection(), Connection(Cycle(response_complete=False))
    slow = SlowConnections(100, clock)
    watch(clock, [silent, working], HEAD_TIMEOUT_S, slow)
    assert not silent.aborted
    watch(clock, [silent, working], 3, slow)
    assert (silent.aborted, working.aborted) == (True, False)


def test_each_further_request_has_its_own_time() -> None:
    clock, busy = Clock(), Connection()
    slow = SlowConnections(100, clock)
    for _ in range(100):
        busy.cycle = Cycle(response_complete=True)
        watch(clock, [busy], 5, slow)
    assert not busy.aborted
    watch(clock, [busy], HEAD_TIMEOUT_S, slow)
    assert busy.aborted


def test_a_reader_that_stands_still_is_hung_up_on_and_one_that_reads_slowly_is_not() -> None:
    clock = Clock()
    still, slow_reader = (Connection(Cycle(response_complete=True), 10_000_000) for _ in range(2))
    slow = SlowConnections(100, clock)
    for _ in range(int(STALL_TIMEOUT_S) + 3):
        watch(clock, [still, slow_reader], 1, slow)
        still.unread -= 100
        slow_reader.unread -= 5_000
    assert (still.aborted, slow_reader.aborted) == (True, False)
    assert slow.closed == 1


def test_a_stream_that_nobody_reads_is_hung_up_on_while_it_grows() -> None:
    clock, unread = Clock(), Connection(Cycle(response_complete=False))
    slow = SlowConnections(100, clock)
    for _ in range(int(STALL_TIMEOUT_S) + 3):
        watch(clock, [unread], 1, slow)
        unread.unread += 50
    assert unread.aborted


def test_when_connections_run_out_those_that_wait_longest_for_a_request_go() -> None:
    clock = Clock()
    old, working, young = Connection(), Connection(Cycle(response_complete=False)), Connection()
    slow = SlowConnections(2, clock)
    watch(clock, [old, working], 2, slow)
    watch(clock, [old, working, young], 1, slow)
    assert (old.aborted, working.aborted, young.aborted) == (True, False, False)


def test_nothing_is_remembered_of_connections_that_have_gone() -> None:
    clock, slow = Clock(), SlowConnections(100, Clock())
    watch(clock, [Connection() for _ in range(50)], 2, slow)
    watch(clock, [], 1, slow)
    assert not slow._waits
