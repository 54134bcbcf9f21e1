"""From a training checkpoint to the artifact that the service runs: export, quantise, gate, fit, describe."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch

from embeddings.artifact import (
    MANIFEST,
    TOKENIZER,
    WEIGHTS,
    ModelManifest,
    describe_file,
    load_manifest,
    write_manifest,
)
from embeddings.errors import ModelDamaged
from generation.decoder import Decoder, DecoderSpec, StateTensor
from generation.metrics import f1_score
from generation.prompt import PromptLayout
from generation.reader import GroundedReader
from generation.sampling import SamplingSettings
from generation.types import Passage, Reading
from training.decoder_data import QaRecord
from training.decoder_export import empty_state, export_graph, state_names
from training.decoder_model import CopyDecoder, DecoderShape
from training.decoder_parity import largest_difference
from training.decoder_recipe import LAYOUT, training_records
from training.quantisation import quantise_int8
from training.warm_start import minilm_directory

MODEL_NAME = "footnote-reader"
MAX_LOGIT_DIFFERENCE = 1e-3  # fp32 graph against torch: the same arithmetic in another order
MAX_F1_LOSS = 0.02  # int8 against fp32 on the held-out sample; its own standard error is about 0.02


@dataclass(frozen=True, slots=True)
class Judged:
    """One held-out question. f1: of the answer with refusal off; impossible: the passage does not hold it."""

    probability: float
    f1: float
    impossible: bool


def build_decoder(checkpoint: Path, output: Path, data: Path, sample: int = 300) -> ModelManifest:
    """Write the artifact of a checkpoint into `output` (its model card is kept).

    sample: held-out questions that the gate and the refusal threshold are measured on.
    Raises ModelDamaged when the graph differs from torch, or int8 loses more F1 than the gate allows;
    `output` is then left as it was.
    """
    model = load_model(checkpoint)
    _, held_out = training_records(data)
    records = held_out[:: max(1, len(held_out) // sample)]
    with tempfile.TemporaryDirectory() as scratch:
        fp32, int8 = Path(scratch, "fp32"), Path(scratch, "int8")
        for folder in (fp32, int8):
            folder.mkdir()
            shutil.copyfile(minilm_directory() / TOKENIZER, folder / TOKENIZER)
        export_graph(model, len(LAYOUT.passage_tokens), fp32 / WEIGHTS)
        quantise_int8(fp32 / WEIGHTS, int8 / WEIGHTS)
        describe(fp32, model.shape, "fp32", {}, refuse_below=0.5)
        describe(int8, model.shape, "int8", {}, refuse_below=0.5)
        figures = _gate(model, fp32, int8, records)
        judged = judge(GroundedReader(Decoder.load(int8, torch.get_num_threads())), records)
        threshold = fit_refusal(judged)
        describe(int8, model.shape, "int8", {**figures, "held_out_questions": len(records)}, threshold)
        output.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, TOKENIZER, MANIFEST):  # the manifest last: it vouches for the others
            shutil.copyfile(int8 / name, output / name)
    return load_manifest(output)


def load_model(checkpoint: Path) -> CopyDecoder:
    """The trained model, in evaluation mode."""
    model = CopyDecoder()
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model.eval()


def describe(
    folder: Path,
    shape: DecoderShape,
    precision: str,
    parity: dict[str, float],
    refuse_below: float,
    layout: PromptLayout = LAYOUT,
) -> None:
    """Write the manifest of the artifact in `folder`."""
    spec = DecoderSpec(layout, state_tensors(shape), "whole", refuse_below)
    manifest = ModelManifest(
        name=MODEL_NAME,
        kind="decoder",
        source="trained by Footnote from all-MiniLM-L6-v2, see README.md",
        licence="CC BY-SA 4.0",
        precision=precision,
        files={name: describe_file(folder / name) for name in (WEIGHTS, TOKENIZER)},
        parity=parity,
        graph=msgspec.to_builtins(spec),
    )
    write_manifest(folder, manifest)


def state_tensors(shape: DecoderShape) -> list[StateTensor]:
    """What the manifest says of the state: the sizes of `empty_state`, with the growing one named."""
    tensors = []
    for name, tensor in zip(state_names(shape), empty_state(shape, batch=1), strict=True):
        sizes: list[int | str] = ["past" if size == 0 else size for size in tensor.shape]
        tensors.append(StateTensor(name, str(tensor.dtype).removeprefix("torch."), ["batch", *sizes[1:]]))
    return tensors


def judge(reader: GroundedReader, records: Sequence[QaRecord]) -> list[Judged]:
    """Read every record with refusal off."""
    return [_judge(reader, record) for record in records]


def _judge(reader: GroundedReader, record: QaRecord) -> Judged:
    passages = [Passage(1, record.context)]
    steps = reader.read(
        record.question, passages, SamplingSettings(), refuse_below=None, cancelled=lambda: False
    )
    reading = [step for step in steps if isinstance(step, Reading)][-1]
    gold = [record.context[start:end] for start, end in record.answers]
    return Judged(reading.answer_probability, f1_score(reading.text, gold) if gold else 0.0, not gold)


def fit_refusal(judged: Sequence[Judged]) -> float:
    """The threshold of answer probability with the best mean F1, where a right refusal scores 1.

    Ties go to the lower threshold: it refuses less.
    """
    candidates = sorted({0.0, *(item.probability for item in judged)})
    return float(max(candidates, key=lambda threshold: (_mean_f1(judged, threshold), -threshold)))


def _mean_f1(judged: Sequence[Judged], refuse_below: float) -> float:
    scores = [float(item.impossible) if item.probability < refuse_below else item.f1 for item in judged]
    return float(np.mean(scores))


def _gate(model: CopyDecoder, fp32: Path, int8: Path, records: Sequence[QaRecord]) -> dict[str, float]:
    threads = torch.get_num_threads()
    exact, quantised = Decoder.load(fp32, threads), Decoder.load(int8, threads)
    figures = {"fp32_largest_log_prob_difference": round(largest_difference(model, exact), 7)}
    answerable = [record for record in records if record.answers]
    for name, decoder in (("fp32", exact), ("int8", quantised)):
        scores = [item.f1 for item in judge(GroundedReader(decoder), answerable)]
        figures[f"{name}_f1_unrefused"] = round(float(np.mean(scores)), 4)
    require_parity(figures)
    return figures


def require_parity(figures: dict[str, float]) -> None:
    """Raise ModelDamaged when the figures are outside the gate."""
    difference = figures["fp32_largest_log_prob_difference"]
    loss = figures["fp32_f1_unrefused"] - figures["int8_f1_unrefused"]
    if difference > MAX_LOGIT_DIFFERENCE or loss > MAX_F1_LOSS:
        raise ModelDamaged(
            f"the exported decoder differs from the trained one: {figures}",
            found=f"log-probabilities off by {difference}, F1 lower by {loss:.4f}",
            expected=f"at most {MAX_LOGIT_DIFFERENCE} and {MAX_F1_LOSS}",
            next_step="export again; if it stays, leave more of the graph in fp32",
        )
