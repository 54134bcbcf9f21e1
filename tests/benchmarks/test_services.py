"""What the comparison of services computes from answers, and the loop that asks; no server is started."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from tests.benchmarks import services
from tests.benchmarks.environments import PEERS
from tests.benchmarks.servers import Server
from tests.benchmarks.services import TURNS, Load, Opened, _take_turns, positions
from tests.benchmarks.services_servers import CONTENDERS
from tests.benchmarks.services_truth import arrange, cut, judged_recall
from tests.benchmarks.texts import NoData
from tests.benchmarks.workers import Worker, WorkerFailed


@pytest.fixture
def ask_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(PEERS))
    import ask_server  # type: ignore[import-not-found]  # noqa: PLC0415  found where it runs

    yield ask_server
    for name in ("ask_server", "worker"):
        sys.modules.pop(name, None)


def test_claims_whose_documents_are_all_there_come_first_with_their_positions() -> None:
    claims = {"q1": "one", "q2": "two", "q3": "three"}
    judged = {"q1": {"a", "missing"}, "q3": {"b"}}
    found = arrange(["a", "b"], ["text a", "text b"], claims, judged)
    assert found.queries == ["three", "one", "two"]
    assert found.relevant == [{1}]


def test_text_is_cut_after_its_last_whole_token() -> None:
    tokenizer = Tokenizer(WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    assert cut("one two  three", tokenizer, most=2) == "one two"
    assert cut("one two", tokenizer, most=2) == "one two"


def test_judged_recall_is_the_mean_share_over_the_judged_queries_alone() -> None:
    assert judged_recall([[1, 2], [3], [9]], [{1, 5}, {3}]) == pytest.approx(0.75)
    assert judged_recall([[1]], []) is None


def test_answer_that_names_a_strange_document_is_refused() -> None:
    assert positions([["b", "a"], []], ["a", "b"]) == [[1, 0], []]
    with pytest.raises(ValueError, match="stranger"):
        positions([["stranger"]], ["a", "b"])


def test_load_adds_up_its_turns_and_tells_failures() -> None:
    load = Load()
    load.add({"latencies_s": [0.001] * 99, "failures": {}, "seconds": 1.0})
    load.add({"latencies_s": [0.5], "failures": {"Refused: 503": 2}, "seconds": 1.0})
    assert load.figures() == {
        "searches_per_s": 50.0,
        "p50_ms": 1.0,
        "p99_ms": 1.0,
        "failures": {"Refused: 503": 2},
    }


def test_load_of_failures_alone_has_no_latency() -> None:
    load = Load()
    load.add({"latencies_s": [], "failures": {"Refused: 500": 3}, "seconds": 2.0})
    assert load.figures() == {"searches_per_s": 0.0, "failures": {"Refused: 500": 3}}


def test_clients_ask_different_queries_and_count_what_fails(ask_server: ModuleType) -> None:
    asked: list[list[str]] = [[], []]

    def good(query: str) -> list[str]:
        asked[0].append(query)
        return ["a"]

    def bad(query: str) -> list[str]:
        asked[1].append(query)
        raise RuntimeError("no")

    answer = ask_server.ask_in_loops([good, bad], ["q0", "q1", "q2", "q3"], seconds=0.05)
    assert len(answer["latencies_s"]) == len(asked[0])
    assert answer["failures"] == {"RuntimeError: no": len(asked[1])}
    assert asked[0][:3] == ["q0", "q2", "q0"]
    assert asked[1][:3] == ["q1", "q3", "q1"]


def test_document_that_is_never_found_ends_the_wait(
    ask_server: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask_server, "SEARCHABLE_S", 0.01)
    with pytest.raises(TimeoutError, match="document d1"):
        ask_server.wait_until_found(lambda _: ["other"], "d1", "its text")


def test_document_found_at_a_later_try_counts_as_searchable(ask_server: ModuleType) -> None:
    answers = iter([["other"], ["d1"]])
    ask_server.wait_until_found(lambda _: next(answers), "d1", "its text")
    assert next(answers, None) is None


def test_each_peer_has_pinned_requirements_and_an_adapter() -> None:
    for each in CONTENDERS:
        assert (PEERS / f"{each.adapter}.py").is_file()
        assert each.name == "Footnote" or each.version().startswith(f"{each.package} ")


def test_benchmark_without_the_public_data_says_why_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> Path:
        raise NoData("no scifact in here; set FOOTNOTE_DATA")

    monkeypatch.setattr(services, "load_abstracts", absent)
    parser = ArgumentParser()
    services.add_arguments(parser)
    assert services.measure(parser.parse_args([])) == {"skipped": "no scifact in here; set FOOTNOTE_DATA"}


def test_service_that_fails_under_load_is_told_and_the_others_go_on() -> None:
    class Users:
        def __init__(self, broken: bool) -> None:
            self.broken = broken

        def ask(self, command: str, **_: object) -> dict[str, object]:
            if self.broken:
                raise WorkerFailed(f"{command}: gone")
            return {"latencies_s": [0.01], "failures": {}, "seconds": 0.01}

    good, bad = (
        Opened(contender, Server("host", 1, 1, 0.0), cast("Worker", Users(broken)), {}, 0.0)
        for contender, broken in zip(CONTENDERS[1:], (False, True), strict=True)
    )
    opened = [bad, good]
    unavailable: dict[str, str] = {}
    _take_turns(opened, (1, 2), 0.04, unavailable)
    assert opened == [good]
    assert unavailable == {bad.contender.name: "load: gone"}
    assert {key: len(load.latencies_s) for key, load in good.loads.items()} == {
        ("dense", 1): TURNS,
        ("dense", 2): TURNS,
    }
