"""From a training checkpoint to the artifact that the service runs: export, quantise, gate, describe."""

import shutil
import tempfile
from collections.abc import Sequence
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
from training.decoder_calibration import calibration_feeds
from training.decoder_confidence import fit_artifact
from training.decoder_data import QaRecord
from training.decoder_export import empty_state, export_graph, state_names
from training.decoder_model import CopyDecoder, DecoderShape
from training.decoder_parity import largest_difference
from training.decoder_recipe import LAYOUT, held_out_records, trained_on
from training.minilm import minilm_directory
from training.static_quantisation import quantise_static

MODEL_NAME = "footnote-reader"
MAX_LOGIT_DIFFERENCE = 1e-3  # fp32 graph against torch: the same arithmetic in another order
REFUSE_BELOW = 0.5  # until a threshold is fitted: where the refusal is the likelier first token
MAX_F1_LOSS = 0.02  # int8 against fp32 on the held-out sample; its own standard error is about 0.02


def build_decoder(checkpoint: Path, output: Path, data: Path, sample: int = 300) -> ModelManifest:
    """Write the artifact of a checkpoint, its confidence fitted, into `output` (its model card is kept).

    sample: held-out answerable questions that the gate is measured on.
    Raises ModelDamaged when the graph differs from torch, or int8 loses more F1 than the gate allows;
    `output` is then left as it was.
    """
    model, held_out = load_model(checkpoint), held_out_records(data)
    answerable = [record for record in held_out if record.answers]
    records = answerable[:: max(1, len(answerable) // sample)]
    with tempfile.TemporaryDirectory() as scratch:
        fp32, int8 = Path(scratch, "fp32"), Path(scratch, "int8")
        for folder in (fp32, int8):
            folder.mkdir()
            shutil.copyfile(minilm_directory() / TOKENIZER, folder / TOKENIZER)
        export_graph(model, fp32 / WEIGHTS)
        describe(fp32, model.shape, "fp32", {})
        quantise_static(fp32 / WEIGHTS, int8 / WEIGHTS, calibration_feeds(fp32, trained_on(data)))
        describe(int8, model.shape, "int8", {})
        describe(int8, model.shape, "int8", _gate(model, fp32, int8, records))
        fit_artifact(int8, held_out, torch.get_num_threads())
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
    folder: Path, shape: DecoderShape, precision: str, parity: dict[str, float], layout: PromptLayout = LAYOUT
) -> None:
    """Write the manifest of the artifact in `folder`."""
    spec = DecoderSpec(layout, state_tensors(shape), "whole", REFUSE_BELOW)
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


def mean_f1(reader: GroundedReader, records: Sequence[QaRecord]) -> float:
    """Mean SQuAD F1 of the answers to answerable questions, each with its own passage and refusal off."""
    return float(np.mean([_f1(reader, record) for record in records]))


def _f1(reader: GroundedReader, record: QaRecord) -> float:
    passages = [Passage(1, record.context)]
    steps = reader.read(
        record.question,
        passages,
        SamplingSettings(),
        refuse_below=None,
        cancelled=lambda: False,
    )
    reading = [step for step in steps if isinstance(step, Reading)][-1]
    return f1_score(reading.text, [record.context[start:end] for start, end in record.answers])


def _gate(model: CopyDecoder, fp32: Path, int8: Path, records: Sequence[QaRecord]) -> dict[str, float]:
    threads = torch.get_num_threads()
    exact, quantised = Decoder.load(fp32, threads), Decoder.load(int8, threads)
    figures: dict[str, float] = {
        "fp32_largest_log_prob_difference": round(largest_difference(model, exact), 7),
        "fp32_f1_unrefused": round(mean_f1(GroundedReader(exact, style="span"), records), 4),
        "int8_f1_unrefused": round(mean_f1(GroundedReader(quantised, style="span"), records), 4),
        "held_out_questions": len(records),
    }
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
