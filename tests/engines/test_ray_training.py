"""The preparation of a training on a cluster, and a training by two workers."""

from pathlib import Path

import msgspec
import numpy as np
from sentence_transformers import SentenceTransformer

from embeddings.artifact import BUNDLED_ENCODER
from embeddings.encoder import Encoder
from tests.engines.ray_cluster import Nodes
from tests.training.siamese.model_fixtures import encoder_folder, triplets
from tests.training.siamese.word_vectors import encode_words, silent
from training.siamese.fitting import Watch, fit
from training.siamese.near_texts import encode_once
from training.siamese.nearest import encode_all
from training.siamese.on_ray import RayEncode, drafting_on_ray
from training.siamese.plan import Objective, Optimisation, Synthetic
from training.siamese.progress import ProgressFile, read_losses, read_progress
from training.siamese.queries import write_queries
from training.siamese.together import train_together

CORPUS = {
    f"{subject}#{number}": (
        f"Use of {subject} in {place}\n"
        f"Merchants carried {subject} across the sea to {place} every summer. "
        f"Old ledgers of {place} praise its {subject} above all others. "
        f"Scholars show that {subject} lost its worth near {place} after the war."
    )
    for subject in ("nickel", "wheat", "falcons", "маяки", "castles")
    for number, place in enumerate(("Lisbon", "Cairo", "Oslo"))
}


def test_prepared_data_are_those_of_this_process(nodes: Nodes) -> None:
    settings = Synthetic(passages=len(CORPUS), consistent_within=99)
    here = write_queries(CORPUS, {}, settings, encode_words, silent)
    there = write_queries(CORPUS, {}, settings, encode_words, silent, drafting_on_ray(nodes.address, 2))
    assert there == here
    assert here[1]["written"]["decoder"] > 0

    encoder, texts = Encoder.load(BUNDLED_ENCODER), list(CORPUS.values()) * 20
    on_ray = RayEncode(nodes.address, encoder, BUNDLED_ENCODER, size=2)
    try:
        for role in ("query", "passage"):
            there = encode_all(texts, role, on_ray, silent)
            np.testing.assert_array_equal(there, encode_all(texts, role, encoder.encode, silent))
        found = encode_once(texts, "passage", on_ray)
        np.testing.assert_array_equal(found, encode_once(texts, "passage", encoder.encode))
    finally:
        on_ray.let_go()


def test_two_workers_train_what_this_process_then_finds_done(nodes: Nodes, tmp_path: Path) -> None:
    settings = Optimisation(batch_examples=8, learning_rate=1e-3, max_tokens=32, precision="fp32")
    settings = msgspec.structs.replace(settings, evaluations=0)
    model = SentenceTransformer(str(encoder_folder()), device="cpu")
    told = ProgressFile(tmp_path, "train")
    watch = Watch(tmp_path)
    train_together(nodes.address, 2, model, triplets(), Objective(), settings, watch, told)
    losses = list(read_losses(tmp_path))
    report = fit(model, triplets(), Objective(), settings, watch)
    assert list(read_losses(tmp_path)) == losses
    assert report.ended == "done"
    assert report.steps == len(losses) == report.planned_steps
    assert report.last_loss < report.first_loss
    progress = read_progress(tmp_path)
    assert progress is not None
    assert progress.done == report.steps
