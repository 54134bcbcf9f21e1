"""Convert an encoder to an artifact of Footnote, behind a parity gate."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from embeddings.artifact import (
    BUNDLED_ENCODER,
    GOLDEN,
    TOKENIZER,
    WEIGHTS,
    ModelManifest,
    describe_file,
    load_manifest,
    write_manifest,
)
from embeddings.encoder import Encoder
from retrieval.benchmark import RetrievalTask
from training.encoder_calibration import calibration_feeds, calibration_texts
from training.encoder_card import CARD, Evidence, model_card
from training.encoder_export import WEIGHTS_DATA, export_fp32
from training.encoder_folder import appearing_whole, check_output
from training.encoder_golden import write_golden
from training.encoder_judgement import METRIC, Judgement, Progress, judge, load_judges
from training.encoder_origin import Provenance
from training.encoder_parity import (
    FP32_VS_ORIGINAL,
    Agreement,
    ParityBounds,
    compare_fp32,
    compare_int8,
    require_parity,
)
from training.encoder_source import EncoderSource, read_source
from training.minilm import MINILM_SHA256, minilm_directory
from training.parity_texts import ParityTexts, parity_texts
from training.static_quantisation import quantise_static

Precision = Literal["fp32", "int8"]
Announce = Callable[[str], None]

_MINILM = Provenance(
    name="all-MiniLM-L6-v2",
    source=f"sentence-transformers/all-MiniLM-L6-v2, model.safetensors with SHA-256 {MINILM_SHA256}",
    licence="Apache-2.0",
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """What to make of an encoder.

    texts: to compare on; judges: folders in BEIR form to measure ranking on; overwrite: whether a folder in
    the place of `output` may go.
    """

    output: Path
    provenance: Provenance
    texts: tuple[ParityTexts, ...]
    precision: Precision = "int8"
    judges: tuple[Path, ...] = ()
    bounds: ParityBounds = field(default_factory=ParityBounds)
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told how a conversion goes: by a line for each step, and by counts within a long one."""

    announce: Announce = lambda _line: None
    progress: Progress = lambda _what, _done, _total: None


def build_bundled_encoder(
    output: Path = BUNDLED_ENCODER, data: Path | None = None, watcher: Watcher | None = None
) -> ModelManifest:
    """Convert all-MiniLM-L6-v2 from its package into `output`.

    data: the folder of development data that parity is measured on; default FOOTNOTE_DATA, else built-in
    texts. Raises NotFound without the package (extra `train`), ModelDamaged when the weights are not the
    published ones or parity is out of bounds; `output` is then left as it was.
    """
    if data is None and "FOOTNOTE_DATA" in os.environ:
        data = Path(os.environ["FOOTNOTE_DATA"])
    judges = (data / "scifact",) if data is not None and (data / "scifact").is_dir() else ()
    conversion = Conversion(output, _MINILM, parity_texts(data), judges=judges, overwrite=True)
    return convert_encoder(read_source(minilm_directory()), conversion, watcher)


def convert_encoder(
    source: EncoderSource, conversion: Conversion, watcher: Watcher | None = None
) -> ModelManifest:
    """Export, quantise, compare with the original and, only then, let the artifact appear in the output.

    Raises Conflict for an output that is taken, ModelDamaged with the figures when one is out of bounds, and
    what `load_judges` raises.
    """
    check_output(conversion.output, conversion.overwrite)
    judges = load_judges(conversion.judges)
    run = _Run(source, conversion, watcher or Watcher())
    with appearing_whole(conversion.output) as staging:
        run.convert(staging, judges)
    return load_manifest(conversion.output)


class _Run:
    """One conversion on its way."""

    def __init__(self, source: EncoderSource, conversion: Conversion, watcher: Watcher) -> None:
        self._source = source
        self._conversion = conversion
        self._watcher = watcher
        self._figures: dict[str, dict[str, Agreement]] = {}

    def convert(self, staging: Path, judges: dict[str, RetrievalTask]) -> None:
        """Leave the whole artifact, and nothing else, in `staging`."""
        exported = staging / "fp32"
        exported.mkdir()
        fp32 = self._export(exported)
        int8 = self._quantise(fp32, exported, staging) if self._conversion.precision == "int8" else None
        judgements = [self._judge(name, task, fp32, int8) for name, task in judges.items()]
        require_parity(self._figures, judgements, self._conversion.bounds)
        if int8 is None:
            for path in exported.iterdir():
                path.rename(staging / path.name)
        write_golden(staging, int8 or fp32, fp32)
        self._finish(staging, judgements)
        for path in exported.iterdir():
            path.unlink()
        exported.rmdir()

    def _export(self, directory: Path) -> Encoder:
        self._watcher.announce("exporting the graph")
        export_fp32(self._source.encoder, directory / WEIGHTS)
        self._describe(directory, "fp32", {})
        encoder = Encoder.load(directory, torch.get_num_threads())
        self._watcher.announce("comparing it with the original")
        self._note(FP32_VS_ORIGINAL, compare_fp32(self._source.original, encoder, self._conversion.texts))
        require_parity(self._figures, (), self._conversion.bounds)
        return encoder

    def _quantise(self, fp32: Encoder, exported: Path, directory: Path) -> Encoder:
        given = [text for sample in self._conversion.texts for text in sample.calibration]
        feeds = calibration_feeds(fp32, calibration_texts(given))
        self._watcher.announce(
            f"quantising, with scales from {sum(len(each['input_ids']) for each in feeds)} texts"
        )
        quantise_static(exported / WEIGHTS, directory / WEIGHTS, feeds)
        self._describe(directory, "int8", {})
        encoder = Encoder.load(directory, torch.get_num_threads())
        self._watcher.announce("comparing int8 with fp32")
        for name, languages in compare_int8(fp32, encoder, self._conversion.texts).items():
            self._note(name, languages)
        return encoder

    def _judge(self, name: str, task: RetrievalTask, fp32: Encoder, int8: Encoder | None) -> Judgement:
        self._watcher.announce(f"ranking {len(task.documents):,} documents of {name}")
        found = judge(name, task, fp32, int8, self._watcher.progress)
        int8_shown = "" if found.int8 is None else f", int8 {found.int8:.4f}"
        self._watcher.announce(f"  {METRIC} fp32 {found.fp32:.4f}{int8_shown}")
        return found

    def _note(self, comparison: str, languages: dict[str, Agreement]) -> None:
        self._figures[comparison] = languages
        for language, found in languages.items():
            self._watcher.announce(
                f"  {comparison} {language}: lowest cosine {found.lowest_cosine:.5f}, mean"
                f" {found.mean_cosine:.5f}, top-10 overlap {found.top10_overlap:.3f}, largest difference"
                f" {found.largest_difference:.1e}"
            )

    def _finish(self, directory: Path, judgements: Sequence[Judgement]) -> None:
        texts = self._conversion.texts
        counts = {sample.language: len(sample.queries) + len(sample.passages) for sample in texts}
        parity: dict[str, Any] = {"texts": counts}
        for name, languages in self._figures.items():
            parity[name] = {language: asdict(found) for language, found in languages.items()}
        if judgements:
            parity[METRIC] = {judged.data: asdict(judged) for judged in judgements}
        manifest = self._describe(directory, self._conversion.precision, parity)
        card = model_card(manifest, Evidence(counts, self._figures, judgements, self._source.notes))
        (directory / CARD).write_text(card, encoding="utf-8")

    def _describe(self, directory: Path, precision: Precision, parity: dict[str, Any]) -> ModelManifest:
        """Put the tokenizer and a manifest beside the weights in `directory`."""
        self._source.tokenizer.save(str(directory / TOKENIZER), pretty=False)
        names = (WEIGHTS, WEIGHTS_DATA, TOKENIZER, GOLDEN)
        provenance = self._conversion.provenance
        manifest = ModelManifest(
            name=provenance.name,
            kind="encoder",
            source=provenance.source,
            licence=provenance.licence,
            precision=precision,
            files={name: describe_file(directory / name) for name in names if (directory / name).is_file()},
            parity=parity,
            encoder=self._source.spec,
        )
        write_manifest(directory, manifest)
        return manifest
