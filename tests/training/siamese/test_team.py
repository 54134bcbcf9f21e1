"""Two processes that share each batch take the steps of one that has it to itself."""

import os
import socket
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from torch import distributed, multiprocessing, nn

from tests.training.siamese.model_fixtures import encoder_folder, scored, triplets
from training.siamese.fitting import Watch, fit
from training.siamese.plan import Objective, Optimisation
from training.siamese.progress import read_losses
from training.siamese.team import ProcessTeam

STEPS = Optimisation(
    epochs=1, batch_examples=9, learning_rate=1e-3, max_tokens=32, precision="fp32", evaluations=2
)
SETS = {"triplets": triplets(), "scored": scored()}


def calm_encoder(source: Path) -> SentenceTransformer:
    """Without dropout, whose draws depend on who runs a text."""
    model = SentenceTransformer(str(source), device="cpu")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def train(source: Path, folder: Path, data: str, team: ProcessTeam | None = None) -> np.ndarray:
    model = calm_encoder(source)
    watch = Watch(folder, validate=lambda _model: 0.5 if team is None or team.rank == 0 else 0.9)
    settings = msgspec.structs.replace(STEPS, patience=0)
    options = {} if team is None else {"team": team}
    fit(model, SETS[data], Objective(), settings, watch, **options)
    return torch.cat([each.detach().flatten() for each in model.parameters()]).numpy()


def member(rank: int, size: int, port: int, source: Path, folder: Path) -> None:
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=size)
    dimension = calm_encoder(source).get_embedding_dimension()
    for data in SETS:
        weights = train(source, folder / data, data, ProcessTeam(int(dimension or 0)))
        np.save(folder / data / f"weights-{rank}.npy", weights)
    distributed.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_losses(folder) if "loss" in line]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have trained on each set."""
    folder = tmp_path_factory.mktemp("shared")
    for data in SETS:
        (folder / data).mkdir()
    multiprocessing.spawn(member, (2, free_port(), encoder_folder(), folder), nprocs=2)
    return folder


@pytest.mark.parametrize("data", SETS)
def test_two_processes_learn_what_one_learns(data: str, shared: Path, tmp_path: Path) -> None:
    source, together = encoder_folder(), shared / data
    weights = train(source, tmp_path, data)
    found = losses(together)
    assert len(found) > 4
    np.testing.assert_allclose(found, losses(tmp_path), rtol=1e-3)
    np.testing.assert_allclose(np.load(together / "weights-0.npy"), weights, atol=5e-3)
    # The process that asked for the training finds it done.
    np.testing.assert_array_equal(train(source, together, data), np.load(together / "weights-0.npy"))
    assert losses(together) == found
