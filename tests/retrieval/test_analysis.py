import pytest

from retrieval.analysis import MAX_TERM_CHARACTERS, looks_like_code, names_code, terms


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("connection", "connected"),
        ("Newton's", "newton"),
        ("Москве", "москвы"),
        ("ёлка", "елка"),
        ("за́мок", "замок"),
        ("café", "cafe"),
        ("１２３", "123"),
        ("1,000,000", "1000000"),
    ],
)
def test_forms_of_a_word_share_their_term(left: str, right: str) -> None:
    assert terms(left) == terms(right)


def test_chinese_gives_characters_and_neighbouring_pairs() -> None:
    assert terms("去世的") == ["去", "世", "的", "去世", "世的"]


def test_single_ideograph_is_found_within_a_longer_run() -> None:
    assert set(terms("猫")) <= set(terms("黑猫警长"))


@pytest.mark.parametrize("name", ["getUserName", "get_user_name", "GetUserName"])
def test_identifier_gives_its_whole_and_its_parts(name: str) -> None:
    found = terms(name)

    assert found[0] == name.lower()
    assert found[1:] == ["get", "user", "name"]


def test_acronym_in_an_identifier_stays_together() -> None:
    assert terms("HTTPServer") == ["httpserver", "http", "server"]


def test_scripts_are_told_apart_within_one_text() -> None:
    assert terms("FAISS ищет 向量 quickly") == ["faiss", "ищет", "向", "量", "向量", "quick"]


def test_numbers_keep_their_point_and_lists_come_apart() -> None:
    assert terms("3.14 2,3") == ["3.14", "2", "3"]


def test_indic_words_keep_their_signs() -> None:
    assert terms("हिन्दी शब्द") == ["हिन्दी", "शब्द"]


def test_no_term_holds_white_space_or_is_longer_than_the_limit() -> None:
    found = terms("a\u00a0b\u3000c\x00d \ud800 " + "x" * 500 + " " + "9," * 300 + "1")

    assert all(term and not any(character.isspace() for character in term) for term in found)
    assert max(map(len, found)) == MAX_TERM_CHARACTERS


@pytest.mark.parametrize("text", ["", "  \n", "?!…", "\ud800"])
def test_text_without_words_gives_no_terms(text: str) -> None:
    assert terms(text) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("what does get_user return", True),
        ("getUser", True),
        ("open() modes", True),
        ("how to open a file", False),
        ("NASA (1958)", False),
    ],
)
def test_query_that_quotes_code_is_told_from_one_that_does_not(query: str, expected: bool) -> None:
    assert names_code(query) is expected


def test_code_is_told_from_prose() -> None:
    code = "def paste(selection=None):\n    return run([tool, '-o'], stdout=PIPE).communicate()[0]\n"
    prose = (
        "The index is a cache (SQL holds the truth). It is rebuilt when absent; nothing that was "
        "acknowledged is lost. A search takes the snapshot that was published last, so readers "
        "never wait for the writer. "
    )

    assert looks_like_code(code)
    assert not looks_like_code(3 * prose)
    assert not looks_like_code("Algorithm 14 [A1]")
