import csv
import gzip
import json

import pyarrow as pa
import pytest
from pyarrow import parquet as parquet_files

from embeddings.errors import InvalidInput, NotFound, UnsupportedFormat
from training.siamese.reading import read_corpus, read_feedback, read_headings, read_sources
from training.siamese.types import LabelledText, Origin, Pair, ScoredPair, Shape

ROWS = [
    {"Question": "how long is a shift?", "answer": "Eight hours.", "negative": "Two weeks."},
    {"Question": "who pays?", "answer": "The client, at the end.", "negative": 'Nobody "ever", they said.'},
]
PAIRS = (
    Pair("how long is a shift?", "Eight hours.", "Eight hours.", negatives=("Two weeks.",)),
    Pair(
        "who pays?",
        "The client, at the end.",
        "The client, at the end.",
        negatives=('Nobody "ever", they said.',),
    ),
)


def json_lines(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def separated(path, rows, delimiter):
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def parquet(path, rows):
    parquet_files.write_table(pa.Table.from_pylist(rows), path)
    return path


def write(path, rows):
    if ".jsonl" in path.name:
        return json_lines(path, rows)
    if path.suffix == ".parquet":
        return parquet(path, rows)
    return separated(path, rows, "\t" if path.suffix == ".tsv" else ",")


def beir(folder, qrels, split="train", documents=("a", "b", "c")):
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    json_lines(
        folder / "corpus.jsonl",
        [{"_id": each, "title": f"T{each}", "text": f"text {each}"} for each in documents],
    )
    json_lines(folder / "queries.jsonl", [{"_id": each, "text": f"query {each}"} for each in ("1", "2")])
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, line)) for line in qrels)]
    (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


def refused(path):
    with pytest.raises(InvalidInput) as caught:
        read_sources([path])
    return caught.value


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz", "x.csv", "x.tsv", "x.parquet"])
def test_triplets_are_the_same_from_every_format(tmp_path, name):
    data = read_sources([write(tmp_path / name, ROWS)])
    assert data.pairs == PAIRS
    assert data.shape == Shape.TRIPLETS


@pytest.mark.parametrize("names", [("query", "passage"), ("ANCHOR", "Positive"), ("question", "document")])
def test_columns_of_pairs_have_many_names(tmp_path, names):
    rows = [dict(zip(names, ("what?", "that"), strict=True))]
    assert read_sources([json_lines(tmp_path / "x.jsonl", rows)]).pairs == (Pair("what?", "that", "that"),)


def test_the_passage_and_not_the_short_answer_is_what_is_to_be_found(tmp_path):
    rows = [{"question": "when?", "answer": "1968", "passage": "It was founded in 1968."}]
    assert (
        read_sources([json_lines(tmp_path / "x.jsonl", rows)]).pairs[0].positive == "It was founded in 1968."
    )


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_negatives_come_as_a_list(tmp_path, name):
    rows = [{"query": "q", "positive": "p", "negatives": ["n", "m", "n"]}]
    assert read_sources([write(tmp_path / name, rows)]).pairs[0].negatives == ("n", "m")


def test_negatives_come_in_numbered_columns_and_some_may_be_empty(tmp_path):
    rows = [
        {"query": "q", "positive": "p", "negative_1": "n", "negative_2": "m"},
        {"query": "r", "positive": "p", "negative_1": "n", "negative_2": ""},
    ]
    pairs = read_sources([separated(tmp_path / "x.csv", rows, ",")]).pairs
    assert [pair.negatives for pair in pairs] == [("n", "m"), ("n",)]


def test_negatives_come_as_json_in_a_cell(tmp_path):
    rows = [{"query": "q", "positive": "p", "negatives": '["n", "m"]'}]
    assert read_sources([separated(tmp_path / "x.csv", rows, ",")]).pairs[0].negatives == ("n", "m")


def test_a_group_column_says_what_stays_together(tmp_path):
    rows = [{"query": "q", "positive": "p", "document_id": 17}]
    assert read_sources([json_lines(tmp_path / "x.jsonl", rows)]).pairs[0].group == "17"


@pytest.mark.parametrize(
    ("given", "expected"),
    [((0, 2.5, 5), (0, 0.5, 1)), ((0, 0.25, 1), (0, 0.25, 1)), ((0, 1, 0), (0, 1, 0))],
)
def test_scores_are_scaled_by_the_range_of_their_column(tmp_path, given, expected):
    rows = [{"sentence1": f"a{score}", "sentence2": "b", "score": score} for score in given]
    data = read_sources([separated(tmp_path / "x.csv", rows, ",")])
    assert tuple(pair.score for pair in data.scored) == expected
    assert data.scored[0] == ScoredPair("a0", "b", 0.0, "a0")


@pytest.mark.parametrize("score", ["-0.5", "7", "nan", "much", ""])
def test_a_score_out_of_range_is_refused_by_its_line(tmp_path, score):
    rows = [{"sentence1": "a", "sentence2": "b", "score": each} for each in ("1", score)]
    error = refused(separated(tmp_path / "x.csv", rows, ","))
    assert "x.csv, line 3" in error.message
    assert repr(score) in error.found


def test_a_number_beside_query_and_passage_is_their_score_and_not_passed_over(tmp_path):
    rows = [{"query": "q", "passage": "p", "label": 0}, {"query": "q", "passage": "o", "label": 1}]
    data = read_sources([json_lines(tmp_path / "x.jsonl", rows)])
    assert [pair.score for pair in data.scored] == [0, 1]


def test_a_word_beside_query_and_passage_says_nothing_of_the_pair(tmp_path):
    rows = [{"query": "q", "passage": "p", "label": "billing"}]
    assert len(read_sources([json_lines(tmp_path / "x.jsonl", rows)]).pairs) == 1


def test_labels_may_be_words_or_numbers(tmp_path):
    rows = [{"text": "lost card", "label": "cards"}, {"text": "top up", "label": 4}]
    expected = (LabelledText("lost card", "cards"), LabelledText("top up", "4"))
    assert read_sources([json_lines(tmp_path / "x.jsonl", rows)]).labelled == expected


def test_quotes_of_an_unquoted_tsv_mean_themselves(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text('query\tpositive\nq\t"Never" he said\nr\t"unclosed\n')
    positives = [pair.positive for pair in read_sources([path]).pairs]
    assert positives == ['"Never" he said', '"unclosed']


def test_unknown_columns_are_named_with_what_is_expected(tmp_path):
    error = refused(json_lines(tmp_path / "x.jsonl", [{"frage": "q", "antwort": "p"}]))
    assert "frage, antwort" in error.found
    assert "query" in error.expected
    assert "sentence1" in error.expected
    assert "x.jsonl" in error.message


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{broken", "no JSON"),
        ("[1]", "list"),
        ('{"query": "q"}', "query"),
        ('{"query": 5, "positive": "p"}', "5"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, found):
    path = tmp_path / "x.jsonl"
    path.write_text('{"query": "q", "positive": "p"}\n\n' + line + "\n")
    error = refused(path)
    assert "line 3" in error.message
    assert found in error.found


def test_an_empty_text_is_left_to_the_cleaning(tmp_path):
    rows = [{"query": "q", "positive": None}]
    assert read_sources([json_lines(tmp_path / "x.jsonl", rows)]).pairs == (Pair("q", "", ""),)


@pytest.mark.parametrize("line", ["a", "a,b,c"])
def test_a_csv_line_of_too_few_or_many_cells_is_named(tmp_path, line):
    path = tmp_path / "x.csv"
    path.write_text(f"query,positive\nq,p\n{line}\n")
    assert "line 3" in refused(path).message


def test_text_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "x.csv"
    path.write_bytes("query,positive\nq,Löhne\n".encode("latin-1"))
    assert "UTF-8" in refused(path).expected


def test_a_cut_file_is_refused(tmp_path):
    whole = parquet(tmp_path / "x.parquet", ROWS).read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[:-9])
    assert "Parquet" in refused(tmp_path / "x.parquet").message
    zipped = json_lines(tmp_path / "x.jsonl.gz", ROWS * 50).read_bytes()
    (tmp_path / "x.jsonl.gz").write_bytes(zipped[:-20])
    assert "gzip" in refused(tmp_path / "x.jsonl.gz").message


def test_an_empty_file_and_other_names_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("query,positive\n")
    assert "no rows" in refused(tmp_path / "x.csv").found
    (tmp_path / "x.docx").write_text("")
    with pytest.raises(UnsupportedFormat):
        read_sources([tmp_path / "x.docx"])
    with pytest.raises(NotFound):
        read_sources([tmp_path / "nowhere.csv"])


def test_a_beir_folder_gives_pairs_judged_negatives_and_its_corpus(tmp_path):
    folder = beir(tmp_path / "set", [("1", "a", 1), ("1", "b", 0), ("2", "c", 2)])
    data = read_sources([folder])
    assert data.pairs == (
        Pair("query 1", "Ta\ntext a", "a", negatives=("Tb\ntext b",)),
        Pair("query 2", "Tc\ntext c", "c"),
    )
    assert data.corpus == {each: f"T{each}\ntext {each}" for each in "abc"}


def test_a_beir_folder_never_gives_its_test_split_unasked(tmp_path):
    folder = beir(tmp_path / "set", [("1", "a", 1)], "test")
    assert "test.tsv" in refused(folder).found
    assert len(read_sources([f"{folder}:test"]).pairs) == 1
    beir(folder, [("2", "b", 1)], "dev")
    assert read_sources([folder]).pairs[0].query == "query 2"


def test_documents_of_two_folders_keep_apart(tmp_path):
    one = beir(tmp_path / "one", [("1", "a", 1)])
    two = beir(tmp_path / "two", [("1", "a", 1)], documents=("a", "z"))
    data = read_sources([one, two])
    assert len(data.corpus) == 5
    assert len({pair.group for pair in data.pairs}) == 2


def test_judgements_of_unknown_documents_are_refused(tmp_path):
    assert "'x'" in refused(beir(tmp_path / "set", [("1", "x", 1)])).found


def test_sources_of_all_kinds_join(tmp_path):
    sources = [
        json_lines(tmp_path / "p.jsonl", [{"query": "q", "answer": "p"}]),
        json_lines(tmp_path / "l.jsonl", [{"text": "t", "label": "l"}]),
        beir(tmp_path / "set", [("1", "a", 1)]),
    ]
    data = read_sources(sources)
    assert (len(data.pairs), len(data.labelled), len(data.corpus)) == (2, 1, 3)


def test_a_corpus_has_titles_and_headings(tmp_path):
    rows = [
        {"_id": "d#0", "title": "Guide", "text": "Text.", "heading_path": ["Setup", "Proxy"]},
        {"_id": "d#1", "title": "", "text": "More.", "heading_path": []},
    ]
    path = json_lines(tmp_path / "corpus.jsonl.gz", rows)
    assert read_corpus(path) == {"d#0": "Guide\nText.", "d#1": "More."}
    assert read_headings(path) == {"d#0": "Setup / Proxy"}


def vote(kind, passage="p", query="How long?", document="d"):
    return {"query": query, "kind": kind, "document_id": document, "passage": passage, "release": 3}


def test_feedback_becomes_pairs_with_what_was_turned_down_as_negatives(tmp_path):
    rows = [vote("click"), vote("accepted", query="how  long?"), vote("thumbs_down", "other", document="e")]
    pairs = read_feedback(json_lines(tmp_path / "feedback.jsonl", rows))
    assert pairs == (Pair("How long?", "p", "d", Origin.FEEDBACK, ("other",)),)


def test_blame_outweighs_a_click_and_not_two_people_praise(tmp_path):
    rows = [vote("click", "clicked"), vote("thumbs_down", "clicked")]
    rows += [vote("accepted", "praised"), vote("thumbs_up", "praised"), vote("thumbs_down", "praised")]
    pairs = read_feedback(json_lines(tmp_path / "feedback.jsonl", rows))
    assert [(pair.positive, pair.negatives) for pair in pairs] == [("praised", ("clicked",))]


def test_unknown_feedback_is_named_by_its_line(tmp_path):
    with pytest.raises(InvalidInput, match=r"line 2.*'like'"):
        read_feedback(json_lines(tmp_path / "feedback.jsonl", [vote("click"), vote("like")]))
