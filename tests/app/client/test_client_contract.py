"""The client knows every route and every field that the service describes."""

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.client import (
    AsyncFootnote,
    File,
    Footnote,
    admin_replies,
    conversation_replies,
    job_replies,
    replies,
)
from app.client.call import Call
from app.client.calls import administration, collections, documents, jobs, questions, texts
from tests.app.test_openapi import SNAPSHOT

API = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
SCHEMAS = API["components"]["schemas"]
CALLS: list[Callable[..., Call[Any]]] = [
    function
    for module in (administration, collections, documents, jobs, questions, texts)
    for name, function in vars(module).items()
    if inspect.isfunction(function) and function.__module__ == module.__name__ and name[0] != "_"
    if function not in (collections.collection_path, questions.as_events)
]
# Routes for the clients of other servers have those clients; health is for supervisors.
PROMETHEUS = ("GET", "/metrics")
FOREIGN_TAGS = {"OpenAI", "Text Embeddings Inference", "Rerank", "Health"}
REPLIES: dict[type[msgspec.Struct], str] = {
    replies.Problem: "Problem",
    replies.Collection: "CollectionReply",
    replies.Collections: "CollectionList",
    replies.BatchItem: "ItemReply",
    replies.Batch: "BatchReply",
    replies.Document: "DocumentReply",
    replies.Documents: "DocumentList",
    replies.Deleted: "DeletionReply",
    replies.Text: "TextReply",
    replies.Explanation: "Explanation",
    replies.Hit: "HitReply",
    replies.Fusion: "FusionReply",
    replies.Found: "SearchReply",
    replies.Sentence: "SentenceReply",
    replies.Citation: "CitationReply",
    replies.Prompt: "PromptReply",
    replies.Answer: "AnswerReply",
    conversation_replies.KeptCitation: "KeptCitationReply",
    conversation_replies.Turn: "TurnReply",
    conversation_replies.Conversation: "ConversationReply",
    conversation_replies.ConversationSummary: "ConversationSummary",
    conversation_replies.Conversations: "ConversationList",
    replies.Map: "MapReply",
    admin_replies.Stats: "StatsReply",
    job_replies.Progress: "ProgressReply",
    job_replies.ItemCounts: "ItemCountsReply",
    job_replies.Job: "JobReply",
    job_replies.Jobs: "JobList",
    job_replies.JobItem: "JobItemReply",
    job_replies.JobItems: "JobItemList",
    admin_replies.Release: "ReleaseReply",
    admin_replies.Releases: "ReleaseList",
    admin_replies.Reindexing: "ReindexReply",
    admin_replies.Pruned: "PruneReply",
    admin_replies.GoldenQuery: "GoldenReply",
    admin_replies.GoldenQueries: "GoldenList",
    admin_replies.Feedback: "FeedbackReply",
    admin_replies.FeedbackList: "FeedbackList",
    admin_replies.LossCurve: "LossCurveReply",
    admin_replies.TrainingReport: "TrainingReportReply",
    admin_replies.LabelProbability: "LabelProbabilityReply",
    admin_replies.Classified: "ClassifiedReply",
    admin_replies.Classification: "ClassifyReply",
    admin_replies.Classifier: "ClassifierReply",
    admin_replies.Classifiers: "ClassifierList",
    admin_replies.Match: "MatchReply",
    admin_replies.Compared: "ComparedReply",
    admin_replies.Comparison: "CompareReply",
}
REQUESTS: dict[Callable[..., Call[Any]], str] = {
    collections.create_collection: "NewCollection",
    documents.delete_documents: "Deletion",
    questions.search: "SearchRequest",
    questions.answer: "AnswerRequest",
    questions.add_feedback: "NewFeedback",
    administration.reindex: "ReindexRequest",
    administration.add_golden_query: "NewGoldenQuery",
    administration.train: "TrainingRequest",
    texts.classify: "ClassifyRequest",
    texts.similarity: "CompareRequest",
}


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: reply.__name__)
def test_reply_has_the_fields_that_the_service_sends(reply: type[msgspec.Struct]) -> None:
    sent = SCHEMAS[REPLIES[reply]]
    known = {field.encode_name: field for field in msgspec.structs.fields(reply)}
    assert set(known) == set(sent["properties"])
    needed = {name for name, field in known.items() if field.required}
    assert needed <= set(sent["required"])


@pytest.mark.parametrize("call", REQUESTS, ids=lambda call: call.__name__)
def test_call_can_say_all_that_the_service_takes(call: Callable[..., Call[Any]]) -> None:
    assert set(SCHEMAS[REQUESTS[call]]["properties"]) <= set(inspect.signature(call).parameters)


def test_every_route_of_footnote_has_a_call() -> None:
    told = {
        (method.upper(), path)
        for path, item in API["paths"].items()
        for method, operation in item.items()
        if not FOREIGN_TAGS & set(operation["tags"])
    }
    made = [*map(_example, CALLS), administration.train("c", files=[File("pairs.jsonl", b"")])]
    assert [
        route for route in sorted(told - {PROMETHEUS}) if not any(_is_at(call, *route) for call in made)
    ] == []


def test_every_call_is_a_method_of_both_clients() -> None:
    inner = {"job_events"}  # follow_job
    names = {call.__name__ for call in CALLS} - inner
    assert names - set(vars(Footnote)) == set()
    assert names - set(vars(AsyncFootnote)) == set()


def test_both_clients_have_the_same_public_methods() -> None:
    assert {name for name in vars(Footnote) if name[0] != "_"} == {
        name for name in vars(AsyncFootnote) if name[0] != "_"
    }


def test_methods_show_what_they_take_and_give() -> None:
    signature = inspect.signature(Footnote.search)
    assert list(signature.parameters)[:3] == ["self", "collection", "query"]
    assert signature.return_annotation is replies.Found
    assert "best first" in (Footnote.search.__doc__ or "")


def test_importing_the_client_loads_nothing_of_the_service() -> None:
    script = "import sys, app.client; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    heavy = {"litestar", "numpy", "onnxruntime", "faiss", "sqlalchemy", "tokenizers", "tantivy", "dbos"}
    assert heavy & set(loaded.stdout.split()) == set()


def _example(call: Callable[..., Call[Any]]) -> Call[Any]:
    parameters = inspect.signature(call).parameters.values()
    needed = [each.name for each in parameters if each.default is inspect.Parameter.empty]
    places: dict[str, Any] = {"files": [], "documents": [], "settings": {}}
    return call(**{name: places.get(name, name) for name in needed})


def _is_at(call: Call[Any], method: str, path: str) -> bool:
    pattern = re.sub(r"\{\w+\}", "[^/]+", path)
    return call.method == method and re.fullmatch(pattern, call.path) is not None
