"""Convert a sentence-transformers encoder to one int8 ONNX file, behind a parity gate.

`footnote models build-bundled` and `python -m training.encoder_export --output DIR` build the bundled one.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch.export import Dim
from torch.onnx import ONNXProgram

from embeddings.artifact import (
    BUNDLED_ENCODER,
    MANIFEST,
    TOKENIZER,
    WEIGHTS,
    EncoderSpec,
    ModelManifest,
    describe_file,
    load_manifest,
    write_manifest,
)
from embeddings.encoder import Encoder
from training.encoder_parity import Agreement, measure_parity, require_parity
from training.encoder_source import EncoderSource, SentenceEncoder, read_source
from training.minilm import MINILM_SHA256, minilm_directory
from training.parity_texts import ParityTexts, parity_texts
from training.quantisation import quantise_int8

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the manifest says of the weights' origin."""

    name: str
    source: str
    licence: str


_MINILM = Provenance(
    name="all-MiniLM-L6-v2",
    source=f"sentence-transformers/all-MiniLM-L6-v2, model.safetensors with SHA-256 {MINILM_SHA256}",
    licence="Apache-2.0",
)


def build_bundled_encoder(output: Path = BUNDLED_ENCODER, data: Path | None = None) -> ModelManifest:
    """Convert all-MiniLM-L6-v2 from its package into `output`.

    data: the folder of development data that parity is measured on; default FOOTNOTE_DATA, else built-in
    texts.
    Raises NotFound without the package (extra `train`), ModelDamaged when the weights are not the published
    ones or parity is out of bounds; `output` is then left as it was.
    """
    if data is None and "FOOTNOTE_DATA" in os.environ:
        data = Path(os.environ["FOOTNOTE_DATA"])
    return convert_encoder(read_source(minilm_directory()), output, _MINILM, parity_texts(data))


def convert_encoder(
    source: EncoderSource, output: Path, provenance: Provenance, texts: tuple[ParityTexts, ...]
) -> ModelManifest:
    """Export, quantise, compare with the original and, only then, write the artifact into `output`."""
    with tempfile.TemporaryDirectory() as scratch:
        fp32, int8 = Path(scratch, "fp32"), Path(scratch, "int8")
        fp32.mkdir()
        int8.mkdir()
        export_fp32(source.encoder, fp32 / WEIGHTS)
        quantise_int8(fp32 / WEIGHTS, int8 / WEIGHTS)
        _describe(source, fp32, provenance, precision="fp32", parity={})
        _describe(source, int8, provenance, precision="int8", parity={})
        figures = _gate(source, fp32, int8, texts)
        manifest = _describe(source, int8, provenance, precision="int8", parity=_as_parity(figures, texts))
        (int8 / CARD).write_text(model_card(manifest, source.spec, figures), encoding="utf-8")
        output.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, TOKENIZER, CARD, MANIFEST):  # the manifest last: it vouches for the others
            shutil.copyfile(int8 / name, output / name)
    return load_manifest(output)


def export_fp32(encoder: SentenceEncoder, path: Path) -> None:
    """Write the encoder as ONNX: input_ids and attention_mask (B, S) int64 to sentence_embedding (B, D)."""
    input_ids = torch.arange(5, 26).reshape(3, 7)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[1, 5:] = attention_mask[2, 3:] = 0  # ragged, as real batches are
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    program = torch.onnx.export(
        encoder,
        (),
        kwargs=inputs,
        output_names=["sentence_embedding"],
        dynamic_shapes={name: {0: Dim.DYNAMIC, 1: Dim.DYNAMIC} for name in inputs},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    # Only the exporter that dynamo=True replaces returned None.
    onnx.save(cast(ONNXProgram, program).model_proto, path)


def _gate(
    source: EncoderSource, fp32: Path, int8: Path, texts: tuple[ParityTexts, ...]
) -> dict[str, dict[str, Agreement]]:
    threads = torch.get_num_threads()
    figures = measure_parity(source.original, Encoder.load(fp32, threads), Encoder.load(int8, threads), texts)
    require_parity(figures)
    return figures


def _describe(
    source: EncoderSource, directory: Path, provenance: Provenance, precision: str, parity: dict[str, Any]
) -> ModelManifest:
    """Put the tokenizer and a manifest beside the weights in `directory`."""
    source.tokenizer.save(str(directory / TOKENIZER), pretty=False)
    manifest = ModelManifest(
        name=provenance.name,
        kind="encoder",
        source=provenance.source,
        licence=provenance.licence,
        precision=precision,
        files={name: describe_file(directory / name) for name in (WEIGHTS, TOKENIZER)},
        parity=parity,
        encoder=source.spec,
    )
    write_manifest(directory, manifest)
    return manifest


def _as_parity(
    figures: Mapping[str, Mapping[str, Agreement]], texts: tuple[ParityTexts, ...]
) -> dict[str, Any]:
    counts = {sample.language: len(sample.queries) + len(sample.passages) for sample in texts}
    agreements = {
        name: {language: asdict(found) for language, found in languages.items()}
        for name, languages in figures.items()
    }
    return {"texts": counts, **agreements}


def model_card(
    manifest: ModelManifest, spec: EncoderSpec, figures: Mapping[str, Mapping[str, Agreement]]
) -> str:
    """The README.md of the artifact, in Markdown."""
    rows = [
        f"| {name.replace('_', ' ')} | {language} | {found.lowest_cosine:.4f} | {found.mean_cosine:.4f} "
        f"| {found.top10_overlap:.3f} |"
        for name, languages in figures.items()
        for language, found in languages.items()
    ]
    texts = ", ".join(f"{count} texts in {language}" for language, count in manifest.parity["texts"].items())
    size = f"{manifest.files[manifest.weights].size_bytes / 1e6:.1f} MB"
    return _CARD.format(manifest=manifest, spec=spec, rows="\n".join(rows), size=size, texts=texts)


_CARD = """# {manifest.name}, {manifest.precision}

Turns a text into a unit vector of {spec.dimension} numbers; texts of like meaning point the same way.

- Source: {manifest.source}
- Licence: {manifest.licence}
- Form: one ONNX file ({size}); {spec.pooling} pooling and L2 normalisation are inside the graph.
- Input: at most {spec.max_tokens} tokens with the special ones; a longer text loses its end.
- Precision: {manifest.precision}; weights and embedding table are quantised, activations scaled at run time.

## Parity with the original

Cosines are between the two vectors of a text; overlap is the share of a query's ten nearest passages that
stays. Measured on {texts}.

| comparison | language | lowest cosine | mean cosine | top-10 overlap |
| --- | --- | --- | --- | --- |
{rows}

## Limits

- Trained on English. Words in other scripts are spelt letter by letter and rank poorly; Footnote then leans
  on BM25.
- Activations share one scale in a batch, so a text's vector depends a little on the texts encoded with it
  (single vs batched, above).
- `footnote models build-bundled` makes it and writes nothing when a figure is out of bounds. Do not edit:
  `manifest.json` holds the SHA-256 of each file.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the bundled encoder.")
    parser.add_argument("--output", type=Path, default=BUNDLED_ENCODER, help="folder of the artifact")
    parser.add_argument("--data", type=Path, help="development data for parity; default FOOTNOTE_DATA")
    arguments = parser.parse_args()
    manifest = build_bundled_encoder(arguments.output, arguments.data)
    print(f"{manifest.model_id} written to {arguments.output}")


if __name__ == "__main__":
    main()
