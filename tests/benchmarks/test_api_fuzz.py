"""What is read out of a run of Schemathesis."""

import json

from tests.benchmarks.api_fuzz import per_operation, read_events


def scenario(status: int, **failed: str) -> str:
    checks = [
        {"name": name, "status": "failure", "failure_info": {"failure": {"operation": operation}}}
        for name, operation in failed.items()
    ]
    recorder = {
        "cases": {"a": {"value": {"path_parameters": {"number": 2**70}}}},
        "checks": {"a": [{"name": "content_type_conformance", "status": "success"}, *checks]},
        "interactions": {"a": {"response": {"status_code": status}}},
    }
    return json.dumps({"ScenarioFinished": {"phase": "fuzzing", "recorder": recorder}})


def test_run_without_a_failure_passes() -> None:
    figures = read_events([json.dumps({"EngineStarted": {}}), scenario(200), scenario(404)])
    assert (figures["cases"], figures["by_phase"]) == (2, {"fuzzing": 2})
    assert figures["statuses"] == {"200": 1, "404": 1}
    assert figures["passed"] is True


def test_same_failure_is_told_once_with_what_was_sent() -> None:
    failing = scenario(500, not_a_server_error="POST /promote", status_code_conformance="POST /promote")
    figures = read_events([failing, failing])
    assert (figures["server_errors"], figures["other_failures"]) == (1, 1)
    assert str(2**70) in str(figures["failures"])
    assert figures["passed"] is False


def test_run_that_sent_nothing_does_not_pass() -> None:
    assert read_events([])["passed"] is False


def test_cases_are_shared_among_the_operations() -> None:
    assert per_operation(10_000, 63) == 159
    assert per_operation(1, 63) == 1
