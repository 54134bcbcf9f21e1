import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.sentences import split_sentences

ENGLISH = [
    ["Dr. Smith went to Washington, D.C. on Jan. 5.", "He met J. R. R. Tolkien, e.g. at 3.5 p.m. sharp."],
    ["It costs $3.50 (approx. 4.2 percent).", "Is that right?", "Yes!"],
    ["The U.S. economy grew.", "See Fig. 2 and No. 7."],
    ['"Stop!" he said.', "Then he left."],
    ["He moved to the U.S.", "He liked it."],
    ["He worked at Acme Inc. in 1990.", "See https://a.example.com/x.html for more."],
    ["Use Python 3.11.", "It is fast."],
    ["Wait... what?", "No way."],
    ["He was born in 1754.", "1763 saw peace."],
    ["This is Mr. and Mrs. Jones vs. the state.", "They won."],
    ["Use tabs, i.e. the character.", "Ok."],
    ["It ended with World War I.", "The peace held."],
]
RUSSIAN = [
    ["Он родился в 1950 г. в Москве.", "Там он жил, т. е. учился."],
    ["А. С. Пушкин родился в 1799 году.", "Он писал стихи и т. д.", "Его любили."],
    ["Длина 3.5 км, т.е. 3500 м.", "Это ул. Ленина, д. 5."],
    ["Население 5 тыс. чел. и 2 млн. руб.", "Конец."],
    ["Почему?", "Потому что!"],
    ["См. рис. 3 и табл. 2.", "Далее проф. Иванов сказал."],
    ["«Стой!» — крикнул он.", "Все ушли."],
    ["Это было в 1950 г.", "Потом он уехал в г. Москва."],
]
CHINESE = [
    ["今天天气很好。", "我们去公园吧！", "你去吗？"],
    ["他说：“你好。”", "然后走了。"],
    ["版本3.5发布了。", "价格为12.5元；很便宜。"],
    ["「你來嗎？」", "他沒有回答。"],
]


def sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text)]


@pytest.mark.parametrize("expected", ENGLISH + RUSSIAN, ids=" ".join)
def test_abbreviations_numbers_and_quotes_do_not_end_a_sentence(expected: list[str]) -> None:
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize("expected", CHINESE, ids="".join)
def test_chinese_sentences_end_without_a_space(expected: list[str]) -> None:
    assert sentences("".join(expected)) == expected


def test_languages_may_be_mixed() -> None:
    text = "Это т. н. «README». See e.g. Fig. 2. 参见图2。It ends here."
    assert sentences(text) == ["Это т. н. «README».", "See e.g. Fig. 2.", "参见图2。", "It ends here."]


def test_blank_lines_headings_and_list_items_end_a_sentence_but_a_line_break_does_not() -> None:
    text = "# Title\nA line that\ngoes on\n\nNext paragraph\n- first item\n- second\n1. Install it\n2. Run it"
    assert sentences(text) == [
        "# Title",
        "A line that\ngoes on",
        "Next paragraph",
        "- first item",
        "- second",
        "1. Install it",
        "2. Run it",
    ]


@pytest.mark.parametrize("text", ["", " \n\n\t "])
def test_a_text_without_words_has_no_sentences(text: str) -> None:
    assert split_sentences(text) == []


@settings(deadline=None)
@given(st.text('aБ я。.!?…\n »"-1#', max_size=60) | st.text(max_size=60))
def test_sentences_are_trimmed_in_order_and_cover_all_but_white_space(text: str) -> None:
    covered = set()
    previous_end = 0
    for start, end in split_sentences(text):
        assert previous_end <= start < end
        assert text[start:end] == text[start:end].strip()
        covered.update(range(start, end))
        previous_end = end
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)


def test_offsets_are_code_points_also_behind_emoji() -> None:
    assert split_sentences("😀 One. Two.") == [(0, 6), (7, 11)]


def test_sentences_of_wikipedia_are_found(data_dir: Path) -> None:
    """Precision and recall of inner boundaries on the sentence lists of SelQA, rejoined with spaces."""
    found_right = found = gold_total = 0
    with gzip.open(data_dir / "selqa" / "dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            listed = [sentence.strip() for sentence in json.loads(line)["candidates"] if sentence.strip()]
            text = " ".join(listed)
            gold = {len(" ".join(listed[:n])) for n in range(1, len(listed))}
            got = {end for _, end in split_sentences(text)} - {len(text)}
            found_right, found, gold_total = (
                found_right + len(got & gold),
                found + len(got),
                gold_total + len(gold),
            )
    assert found_right / found > 0.99
    assert found_right / gold_total > 0.93
