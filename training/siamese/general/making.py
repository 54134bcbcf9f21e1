"""Make the built-in general set from the development data.

    FOOTNOTE_DATA=FOLDER python -m training.siamese.general.making

The English part of XQuAD (Artetxe et al. 2020, CC BY-SA 4.0): paragraphs of Wikipedia are the documents, its
questions the queries, and right is the paragraph that a question was asked about.
"""

import gzip
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.siamese.general import BUILT_IN, FOLDER


def make_xquad(records: Path, output: Path) -> None:
    """Write a folder in BEIR form, byte for byte the same each time.

    records: xquad's lines of {id, title, para, context, question}. A question that was asked twice counts
    once, for its first paragraph.
    """
    with gzip.open(records, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    paragraphs = {row["para"]: row for row in rows}
    questions = {row["question"]: row for row in reversed(rows)}
    asked = sorted(questions.values(), key=lambda row: str(row["id"]))
    (output / "qrels").mkdir(parents=True, exist_ok=True)
    _write(output / "corpus.jsonl.gz", (_document(row) for row in paragraphs.values()))
    _write(output / "queries.jsonl.gz", ({"_id": row["id"], "text": row["question"]} for row in asked))
    judged = [f"{row['id']}\t{row['para']}\t1" for row in asked]
    (output / "qrels" / "test.tsv").write_text(
        "\n".join(["query-id\tcorpus-id\tscore", *judged, ""]), encoding="utf-8"
    )


def _document(row: Mapping[str, Any]) -> dict[str, str]:
    return {"_id": row["para"], "title": row["title"].replace("_", " "), "text": row["context"]}


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    make_xquad(Path(os.environ["FOOTNOTE_DATA"]) / "xquad" / "en.jsonl.gz", FOLDER / BUILT_IN)
