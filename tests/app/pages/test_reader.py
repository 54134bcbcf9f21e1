import re
from time import perf_counter
from urllib.parse import quote

import pytest

from app.pages.formats import reflow
from app.pages.reading import CONTEXT
from tests.app.http.conftest import Client
from tests.app.pages.test_ask import Words
from tests.retrieval.documents import make_pdf

PART = {"HX-Request": "true"}
LONG = "🌱 first. " + "word " * 5000 + "last."


@pytest.fixture
async def book(admin: Client, garden: str) -> str:
    """The address of a long document."""
    sent = {"documents": [{"id": "long/book", "text": LONG, "metadata": {"shelf": "a&b"}}]}
    await admin.post("/v1/collections/garden/documents", json=sent)
    return "/collections/garden/documents/long/book"


def marked(page: str) -> str:
    found = re.search(r'<mark id="span" tabindex="-1">(.*?)</mark>', page, re.DOTALL)
    return "" if found is None else found[1]


async def test_span_is_cut_by_code_points(book: str, client: Client) -> None:
    page = await client.get(book, params={"v": 1, "s": 2, "e": 7})
    assert marked(page.text) == "first"


async def test_only_the_surroundings_are_sent(book: str, client: Client) -> None:
    page = (await client.get(book, params={"s": 15_000, "e": 15_004})).text
    assert len(page) < 2 * CONTEXT + 12_000
    assert "first" not in page
    assert "last." not in page


async def test_stretches_beside_it_join_up_to_the_whole_text(book: str, client: Client) -> None:
    page = (await client.get(book, params={"s": 9000, "e": 9004})).text
    whole = Words(re.search(r'<div class="text">(.*)</div>', page, re.DOTALL)[1]).text  # type: ignore[index]
    links = [str(attrs["hx-get"]) for _, attrs in Words(page).tags if "hx-get" in attrs]
    while links:
        link = links.pop()
        label = "Earlier text" if "part=earlier" in link else "Later text"
        part = Words((await client.get(link, headers=PART)).text)
        whole = whole.replace(label, part.text)
        links += [str(attrs["hx-get"]) for _, attrs in part.tags if "hx-get" in attrs]
    assert whole == LONG


async def test_heading_is_a_place_to_go_to(garden: str, admin: Client) -> None:
    text = "# Beds\n\nSoil.\n\n## Paths & <b>\n\nGravel."
    sent = {"documents": [{"id": "plan", "text": text, "media_type": "text/markdown"}]}
    await admin.post("/v1/collections/garden/documents", json=sent)
    page = Words((await admin.get("/collections/garden/documents/plan")).text)
    [_, paths] = [attrs["href"] for attrs in page.of_class("place")]
    opened = await admin.get(str(paths))
    assert f"s={text.index('## Paths')}&" in str(paths).replace("&amp;", "&")
    assert '<mark id="span" tabindex="-1"></mark>' in opened.text
    assert "<b>" not in opened.text


async def test_page_of_the_span_is_told(garden: str, admin: Client) -> None:
    pdf = make_pdf([["Rakes."], ["Spades."], ["Hoes."]])
    await admin.post("/v1/collections/garden/files", files={"file": ("tools.pdf", pdf, "application/pdf")})
    stored = (await admin.get("/v1/collections/garden/text/tools.pdf")).json()["text"]
    start = stored.index("Hoes")
    params = {"v": 1, "s": start, "e": start + 4}
    page = await admin.get("/collections/garden/documents/tools.pdf", params=params, headers=PART)
    header = page.text.partition("</header>")[0]
    assert "page 3" in header
    assert marked(page.text) == "Hoes"


@pytest.mark.parametrize("identifier", ["снег", "beds/tomatoes", "beds%2Ftomatoes"])
async def test_id_opens_as_people_and_programs_write_it(garden: str, client: Client, identifier: str) -> None:
    address = identifier if "%" in identifier else quote(identifier)
    assert (await client.get(f"/collections/garden/documents/{address}")).status_code == 200


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"s": 5}, 422),
        ({"s": 9, "e": 5}, 422),
        ({"s": 0, "e": 10**9}, 422),
        ({"s": "x", "e": 5}, 422),
        ({"a": -1}, 422),
        ({"v": 9}, 404),
        ({"a": 10**9, "z": 5}, 200),
    ],
)
async def test_place_that_is_not_there_is_told(
    book: str, client: Client, params: dict[str, object], status: int
) -> None:
    reply = await client.get(book, params=params, headers={"accept": "text/html"})
    assert reply.status_code == status
    assert reply.headers["content-type"].startswith("text/html")


def test_reflow_joins_wrapped_lines_alone_and_moves_nothing() -> None:
    long = "A line that an editor wrapped because it had grown too long for it"
    wrapped = long + "\nand its end.\n\n- a\n- b\nshort\nx"
    shown = reflow(wrapped)
    assert len(shown) == len(wrapped)
    assert "for it and its end.\n\n- a\n- b\nshort\nx" in shown


@pytest.mark.parametrize("text", ["word " * 200_000, "\n" * 500_000, "x" * 1_000_000])
def test_reflow_takes_no_longer_than_the_text_is(text: str) -> None:
    began = perf_counter()
    assert len(reflow(text)) == len(text)
    assert perf_counter() - began < 2
