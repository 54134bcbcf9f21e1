from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from generation.causal.engine import CausalEngine
from generation.causal.model import CausalModel
from generation.causal.options import EngineOptions
from tests.generation.causal.tiny_causal import write_tiny_causal

StartEngine = Callable[..., CausalEngine]


@pytest.fixture(scope="session")
def tiny_causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal artifact with random weights."""
    return write_tiny_causal(tmp_path_factory.mktemp("causal"))


@pytest.fixture(scope="session")
def causal_model(tiny_causal: Path) -> CausalModel:
    return CausalModel.load(tiny_causal, threads=1)


@pytest.fixture
def start_engine(causal_model: CausalModel) -> Iterator[StartEngine]:
    """Starts engines on the tiny model, or on the one given, and closes them in the end."""
    started: list[CausalEngine] = []

    def start(model: CausalModel = causal_model, **options: object) -> CausalEngine:
        started.append(CausalEngine(model, EngineOptions(**options)))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for engine in started:
        engine.close()
