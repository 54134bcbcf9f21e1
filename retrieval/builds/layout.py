"""Names of the files of a build."""

from pathlib import Path

VECTORS = "vectors.faiss"
METADATA = "metadata.json.bin"
LEXICAL = "lexical"


def array_path(directory: Path, name: str) -> Path:
    """The file of one column."""
    return directory / f"{name}.npy"
