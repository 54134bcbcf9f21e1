"""Where the bundled decoder lies: apart from its engine, so that settings need not load that."""

from pathlib import Path

BUNDLED_DECODER = Path(__file__).resolve().parent / "bundled"
