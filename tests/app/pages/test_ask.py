import json
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from urllib.parse import parse_qsl

import pytest
from litestar.datastructures import MultiDict

from app.pages.answer_views import answer_view, hit_views
from app.pages.conditions import FieldCondition, filter_of
from app.pages.questions import MAX_TURNS, Question
from app.services.types import AnswerOutput, Hit, HitScores, Scope, SearchOutput
from embeddings.errors import InvalidInput
from generation.types import Answer, AnswerSentence, AnswerStatus, Citation
from retrieval.filters import matches, parse_filter
from retrieval.types import SearchMode
from tests.app.http.conftest import Client, Keys

OURS = {"HX-Request": "true"}
ASKED = {"c": "garden", "q": "When do I plant tomatoes?"}


class Words(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]


def hit(text: str, start: int = 0, document_id: str = "d") -> Hit:
    scores = HitScores(1.0)
    return Hit(document_id, 1, None, start, start + len(text), text, None, (), {}, 1.0, scores)


def answered(
    text: str, sentences: tuple[AnswerSentence, ...], citations: tuple[Citation, ...]
) -> AnswerOutput:
    answer = Answer(AnswerStatus.ANSWERED, text, 0.9, sentences, citations)
    search = SearchOutput("q", SearchMode.HYBRID, (hit("Tall 🌱 beans climb."),), None, 1.0, False, 1)
    return AnswerOutput(answer, search, 1.0)


def events_of(body: str) -> list[tuple[str, str]]:
    frames = [frame.split("\n") for frame in body.split("\n\n") if frame.startswith("event: ")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


class TestQuestions:
    def test_address_says_all_and_is_read_back(self) -> None:
        asked = Question(
            "why?",
            "garden",
            SearchMode.DENSE,
            rerank=True,
            conditions=(FieldCondition("bed", "min", "2"), FieldCondition("язык", "is", "ru & en")),
            turns=(("who?", "she"), ("what?", "")),
        )
        assert Question.of(MultiDict(parse_qsl(asked.query, keep_blank_values=True))) == asked

    @pytest.mark.parametrize(
        ("name", "value"), [("m", "magic"), ("o", "-1"), ("o", "1" * 99), ("t", "x"), ("fo", "like")]
    )
    def test_address_that_no_form_writes_is_refused(self, name: str, value: str) -> None:
        pairs = [("q", "x"), (name, value)] + [("fk", "bed"), ("fv", "1")] * (name == "fo")
        with pytest.raises(InvalidInput) as caught:
            Question.of(MultiDict(pairs))
        assert caught.value.field == name

    def test_follow_ups_carry_the_latest_turns_alone(self) -> None:
        question = Question("first", "garden")
        for number in range(MAX_TURNS + 2):
            question = question.followed(f"q{number}", f"a{number}", None).changed(text="next")
        assert [asked for asked, _ in question.turns] == [f"q{n}" for n in range(2, MAX_TURNS + 2)]

    def test_follow_up_in_a_kept_conversation_carries_its_number_alone(self) -> None:
        assert Question("a", "garden").followed("a", "b", 7).fields() == [("c", "garden"), ("t", "7")]


class TestConditions:
    @pytest.mark.parametrize(
        ("row", "metadata", "passes"),
        [
            (("year", "is", "2020"), {"year": 2020}, True),
            (("year", "is", "2020"), {"year": "2020"}, True),
            (("year", "is", "2020"), {"year": 2021}, False),
            (("draft", "is", "true"), {"draft": True}, True),
            (("draft", "is", "true"), {"draft": 1}, False),
            (("lang", "not", "ru"), {"lang": "en"}, True),
            (("lang", "not", "ru"), {}, True),
            (("year", "min", "2020"), {"year": 2020}, True),
            (("year", "max", "2019.5"), {"year": 2020}, False),
            (("date", "min", "2024-05-01"), {"date": "2024-06-01"}, True),
            (("author.name", "has", ""), {"author": {"name": "Ann"}}, True),
            (("author.name", "has", ""), {"author": {}}, False),
        ],
    )
    def test_row_means_what_it_says(
        self, row: tuple[str, str, str], metadata: dict[str, object], passes: bool
    ) -> None:
        assert matches(parse_filter(filter_of([FieldCondition(*row)])), metadata) is passes

    def test_no_rows_are_no_filter(self) -> None:
        assert filter_of([]) is None


class TestViews:
    def test_quotes_are_marked_by_code_points(self) -> None:
        text = "Tall 🌱 beans climb."
        citation = Citation(1, "d", 1, 107, 112, "beans")
        [view] = hit_views("garden", [hit(text, start=100)], [citation])
        assert [piece.text for piece in view.pieces if piece.marked] == ["beans"]
        assert "".join(piece.text for piece in view.pieces) == text

    def test_quotes_that_overlap_are_marked_once(self) -> None:
        text = "abcdefgh"
        citations = [
            Citation(n, "d", 1, a, b, text[a:b]) for n, (a, b) in enumerate([(1, 4), (2, 6), (2, 3)])
        ]
        [view] = hit_views("garden", [hit(text)], citations)
        assert "".join(piece.text for piece in view.pieces) == text
        assert "".join(piece.text for piece in view.pieces if piece.marked) == "bcdef"

    def test_long_hit_is_cut_behind_its_last_quote(self) -> None:
        text = "word " * 1000
        citation = Citation(1, "d", 1, 4000, 4004, "word")
        [cut] = hit_views("garden", [hit(text)])
        [quoted] = hit_views("garden", [hit(text)], [citation])
        assert [len("".join(piece.text for piece in view.pieces)) for view in (cut, quoted)] == [1502, 4006]
        assert [piece.text for piece in quoted.pieces if piece.marked] == ["word"]

    def test_citation_of_another_version_marks_nothing(self) -> None:
        [view] = hit_views("garden", [hit("abc")], [Citation(1, "d", 2, 0, 1, "a")])
        assert not any(piece.marked for piece in view.pieces)

    def test_answer_is_put_together_from_its_sentences_and_what_stands_between(self) -> None:
        text = "Yes. \n\nBeans climb, and climb. Yes. "
        sentences = (
            AnswerSentence("Yes.", (1,)),
            AnswerSentence("Beans climb, and climb."),
            AnswerSentence("Yes."),
        )
        view = answer_view("garden", answered(text, sentences, (Citation(1, "d", 1, 0, 4, "Tall"),)))
        shown = "".join(sentence.gap + sentence.text for sentence in view.sentences) + view.rest
        assert shown == text
        assert [len(sentence.notes) for sentence in view.sentences] == [1, 0, 0]

    def test_short_quote_is_shown_with_the_words_around_it(self) -> None:
        citation = Citation(1, "d", 1, 7, 12, "beans")
        [note] = answer_view("garden", answered("beans", (), (citation,))).notes
        assert (note.before, note.quote, note.after) == ("Tall 🌱 ", "beans", " climb.")


class TestPage:
    async def test_answer_streams_its_hits_first_and_its_footnotes_last(
        self, garden: str, client: Client
    ) -> None:
        reply = await client.get("/ask", params=ASKED, headers=OURS)
        events = events_of(reply.text)
        assert events[0][0] == "found"
        assert [name for name, _ in events][-2:] == ["answer", "found"]
        drafts = "".join(text for name, text in events if name == "draft")
        assert drafts == "inthemiddleofMay"  # this reader streams words, the real ones their spaces too
        answer = Words(dict(events)["answer"])
        assert [chip["data-quote"] for chip in answer.of_class("chip")] == ["in the middle of May"]
        assert "mark" in {tag for tag, _ in Words(events[-1][1]).tags}

    async def test_address_of_a_chip_opens_the_document_at_the_quote(
        self, garden: str, client: Client
    ) -> None:
        reply = await client.get("/ask", params=ASKED, headers=OURS)
        [chip] = Words(dict(events_of(reply.text))["answer"]).of_class("chip")
        document = await client.get(str(chip["href"]))
        assert '<mark id="span" tabindex="-1">in the middle of May</mark>' in document.text

    async def test_answer_stands_in_the_page_without_scripts(self, garden: str, client: Client) -> None:
        page = Words((await client.get("/", params=ASKED | {"plain": "1"})).text)
        assert "in the middle of May" in page.text
        assert page.of_class("chip")

    async def test_sentence_without_a_source_is_marked(
        self, garden: str, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def answer(*_: object) -> AsyncIterator[AnswerOutput]:
            yield answered("They sing.", (AnswerSentence("They sing."),), ())

        monkeypatch.setattr("app.services.conversations.ConversationService.answer", answer)
        reply = await client.get("/ask", params=ASKED, headers=OURS)
        shown = Words(dict(events_of(reply.text))["answer"])
        assert shown.of_class("unsupported")
        assert "no source" in shown.text

    async def test_search_filters_and_pages(self, garden: str, client: Client) -> None:
        asked = {"c": "garden", "q": "tomatoes", "w": "search", "fk": "bed", "fo": "is", "fv": "2"}
        page = Words((await client.get("/", params=asked)).text)
        assert len(page.of_class("hit")) == 1
        assert "Убирайте снег" in page.text

    async def test_next_hits_come_as_a_part(self, admin: Client, client: Client) -> None:
        await admin.post("/v1/collections", json={"name": "many"})
        documents = [{"text": f"Bean number {n} climbs.", "id": f"d{n:02}"} for n in range(12)]
        await admin.post("/v1/collections/many/documents", json={"documents": documents})
        asked = {"c": "many", "q": "bean", "w": "search"}
        first = Words((await client.get("/", params=asked)).text)
        [more] = [attrs["hx-get"] for _, attrs in first.tags if "hx-get" in attrs]
        second = Words((await client.get(str(more), headers=OURS)).text)
        assert (len(first.of_class("hit")), len(second.of_class("hit"))) == (10, 2)
        assert "html" not in {tag for tag, _ in second.tags}

    async def test_stream_is_for_the_pages_own_script(self, garden: str, client: Client) -> None:
        assert (await client.get("/ask", params=ASKED)).status_code == 403

    @pytest.fixture
    def rewriter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A decoder that can rewrite follow-ups."""
        monkeypatch.setattr("app.services.answers.AnswerService.can_rewrite", True)

    async def test_follow_up_carries_what_was_said(self, rewriter: None, garden: str, client: Client) -> None:
        reply = await client.get("/ask", params=ASKED, headers=OURS)
        answer = dict(events_of(reply.text))["answer"]
        form = Words(answer[answer.index('<form class="follow"') :])
        fields = [(attrs["name"], attrs.get("value")) for tag, attrs in form.tags if tag == "input"]
        assert fields == [
            ("c", "garden"), ("hq", ASKED["q"]), ("ha", "in the middle of May"), ("q", None),
        ]  # fmt: skip

    async def test_page_shows_what_was_said_before(self, rewriter: None, garden: str, client: Client) -> None:
        asked = ASKED | {"hq": "Who likes <b>the sun?", "ha": "Tomatoes do."}
        page = await client.get("/", params=asked)
        assert "Who likes &lt;b&gt;the sun?" in page.text
        assert "Tomatoes do." in Words(page.text).text

    async def test_no_follow_up_is_offered_where_the_decoder_cannot(
        self, garden: str, client: Client
    ) -> None:
        reply = await client.get("/ask", params=ASKED, headers=OURS)
        assert 'class="follow"' not in dict(events_of(reply.text))["answer"]

    async def test_key_sees_its_collections_alone(
        self, garden: str, client: Client, resources: object
    ) -> None:
        made = await resources.keys.create("narrow", [Scope.READ], collections=["other"])  # type: ignore[attr-defined]
        header = {"Authorization": f"Bearer {made.token}"}
        assert "garden" not in (await client.get("/", headers=header)).text
        assert (await client.get("/", params=ASKED, headers=header)).status_code == 404
        assert (await client.get("/ask", params=ASKED, headers=header | OURS)).status_code == 404


class TestVerdicts:
    PLACE = json.dumps(["beds/tomatoes", 1, 0, 8])

    async def test_verdict_is_kept(self, garden: str, client: Client, keys: Keys) -> None:
        sent = {
            "q": "tomatoes",
            "kind": "thumbs_up",
            "release": "1",
            "place": self.PLACE,
            "next": "/?c=garden",
        }
        reply = await client.post("/collections/garden/verdicts", data=sent, headers=keys[Scope.WRITE])
        assert (reply.status_code, reply.headers["location"]) == (303, "/?c=garden")
        kept = await client.get("/v1/admin/collections/garden/feedback", headers=keys[Scope.ADMIN])
        [verdict] = kept.json()["feedback"]
        found = [
            verdict[name] for name in ("query", "kind", "document_id", "version", "start", "end", "release")
        ]
        assert found == ["tomatoes", "thumbs_up", "beds/tomatoes", 1, 0, 8, 1]

    async def test_reader_may_not_judge(self, garden: str, client: Client, keys: Keys) -> None:
        sent = {"q": "tomatoes", "kind": "thumbs_up", "release": "1", "place": self.PLACE}
        reply = await client.post("/collections/garden/verdicts", data=sent, headers=keys[Scope.READ])
        assert reply.status_code == 403

    async def test_place_that_the_page_did_not_write_is_refused(
        self, garden: str, client: Client, keys: Keys
    ) -> None:
        sent = {"q": "tomatoes", "kind": "thumbs_up", "release": "1", "place": "beds/tomatoes"}
        headers = keys[Scope.WRITE] | OURS
        reply = await client.post("/collections/garden/verdicts", data=sent, headers=headers)
        assert reply.status_code == 422
        assert "place" in reply.text
