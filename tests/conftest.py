import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of public development data; the test is skipped where there is none."""
    folder = Path(os.environ.get("FOOTNOTE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no development data at {folder}; set FOOTNOTE_DATA to its folder")
    return folder
