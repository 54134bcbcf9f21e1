"""The short form of `make soak`'s kills, and the ledger by which both judge."""

from pathlib import Path

from tests.benchmarks.kills import Ledger, run_cycles


def test_kills_lose_nothing_and_bring_nothing_back(tmp_path: Path) -> None:
    ledger, wrong = run_cycles(tmp_path, cycles=4, seed=7)
    assert ledger.present
    assert (ledger.lost, ledger.returned, wrong) == (0, 0, 0)


def test_ledger_counts_what_was_lost_and_what_came_back() -> None:
    ledger = Ledger()
    for event in ({"adding": [1, 2, 3]}, {"added": [1, 2, 3]}, {"deleting": [3]}, {"deleted": [3]}):
        ledger.take(event)
    ledger.settle_open(stored={2, 3})
    assert (ledger.lost, ledger.returned) == (1, 1)


def test_call_without_an_answer_may_have_either_outcome_but_keeps_it() -> None:
    ledger = Ledger()
    ledger.take({"adding": [1, 2]})
    ledger.settle_open(stored={1})
    assert (ledger.lost, ledger.returned) == (0, 0)
    ledger.settle_open(stored={2})
    assert (ledger.lost, ledger.returned) == (1, 1)
