"""Chroma's server with its own Python client, which encodes: the server only stores and searches.

The encoder is Chroma's default function, ONNX Runtime in fp32, which pads every text to 256 tokens. It would
fetch its graph; here it finds one of the same weights in its place. The threads share one client and encoder.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import chromadb
from chromadb.config import Settings
from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

LIMIT = 10
NAME = "services"


class Users:
    """given: host, port, and the folder that holds the graph in `fp32/`."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        graph = Path(given["model"])
        ONNXMiniLM_L6_V2.DOWNLOAD_PATH = graph
        ONNXMiniLM_L6_V2.EXTRACTED_FOLDER_NAME = "fp32"
        settings = Settings(anonymized_telemetry=False)
        client = chromadb.HttpClient(host=given["host"], port=given["port"], settings=settings)
        # Its default space is the squared distance; the order is the same for unit vectors.
        self._collection: Any = client.create_collection(NAME, embedding_function=ONNXMiniLM_L6_V2())

    def ingest(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        self._collection.add(ids=list(ids), documents=list(texts))

    def finish(self) -> None:
        """A search takes in what its graph lacks of the log, so nothing is left to do."""

    def vectors(self) -> int:
        return int(self._collection.count())

    def connect(self, mode: str) -> Callable[[str], list[str]]:
        if mode != "dense":
            raise ValueError(f"this server has no {mode} search")

        def search(query: str) -> list[str]:
            found = self._collection.query(query_texts=[query], n_results=LIMIT)
            return [str(each) for each in found["ids"][0]]

        return search
