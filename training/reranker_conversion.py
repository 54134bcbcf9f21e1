"""Convert a cross-encoder to an artifact of Footnote, behind a parity gate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from embeddings.artifact import (
    GOLDEN,
    TOKENIZER,
    WEIGHTS,
    ModelManifest,
    describe_file,
    load_manifest,
    write_manifest,
)
from embeddings.golden import GoldenVectors
from embeddings.reranker import GoldenPairs, Reranker, TokenizedPair, graph_inputs
from training.encoder_conversion import Precision, Watcher
from training.encoder_export import WEIGHTS_DATA, export_fp32
from training.encoder_folder import appearing_whole, check_output
from training.encoder_golden import GOLDEN_TEXTS
from training.encoder_origin import Provenance
from training.parity_texts import ParityTexts
from training.reranker_card import CARD, reranker_card
from training.reranker_parity import (
    FP32_VS_ORIGINAL,
    INT8_VS_FP32,
    PairBounds,
    PairParity,
    compare,
    original_scores,
    parity_pairs,
    require_parity,
)
from training.reranker_source import RerankerSource
from training.static_quantisation import Feed, quantise_static

OUTPUT = "relevance"
# Pairs with the passages after those that parity is measured on.
_CALIBRATION_PAIRS = 64
_BATCH = 8


@dataclass(frozen=True, slots=True)
class RerankerConversion:
    """What to make of a cross-encoder. texts: to compare on; overwrite: whether a folder in the place of
    `output` may go.
    """

    output: Path
    provenance: Provenance
    texts: tuple[ParityTexts, ...]
    precision: Precision = "int8"
    bounds: PairBounds = field(default_factory=PairBounds)
    overwrite: bool = False


def convert_reranker(
    source: RerankerSource, conversion: RerankerConversion, watcher: Watcher | None = None
) -> ModelManifest:
    """Export, quantise, compare with the original and, only then, let the artifact appear in the output.

    Raises Conflict for an output that is taken, ModelDamaged with the figure when one is out of bounds.
    """
    check_output(conversion.output, conversion.overwrite)
    run = _Run(source, conversion, watcher or Watcher())
    with appearing_whole(conversion.output) as staging:
        run.convert(staging)
    return load_manifest(conversion.output)


class _Run:
    """One conversion on its way."""

    def __init__(self, source: RerankerSource, conversion: RerankerConversion, watcher: Watcher) -> None:
        self._source = source
        self._conversion = conversion
        self._watcher = watcher
        self._figures: dict[str, dict[str, PairParity]] = {}

    def convert(self, staging: Path) -> None:
        """Leave the whole artifact, and nothing else, in `staging`."""
        exported = staging / "fp32"
        exported.mkdir()
        fp32 = self._export(exported)
        final = self._quantise(fp32, exported, staging) if self._conversion.precision == "int8" else fp32
        if final is fp32:
            for path in exported.iterdir():
                path.rename(staging / path.name)
        vectors = (GoldenPairs(each).encode(GOLDEN_TEXTS, "") for each in (final, fp32))
        GoldenVectors.of(GOLDEN_TEXTS, *vectors).write(staging)
        manifest = self._describe(staging, self._conversion.precision, self._parity())
        (staging / CARD).write_text(reranker_card(manifest, self._figures), encoding="utf-8")
        for path in exported.iterdir():
            path.unlink()
        exported.rmdir()

    def _export(self, directory: Path) -> Reranker:
        self._watcher.announce("exporting the graph")
        inputs = graph_inputs(self._source.spec)
        export_fp32(self._source.scorer, directory / WEIGHTS, inputs=inputs, output=OUTPUT)
        reranker = self._load(directory, "fp32")
        self._watcher.announce("comparing it with the original")
        for texts in self._conversion.texts:
            rows = parity_pairs(texts, reranker)
            expected = [original_scores(self._source.original, row) for row in rows]
            found = [reranker.score_pairs(row, raw=True).scores for row in rows]
            self._note(FP32_VS_ORIGINAL, texts.language, compare(expected, found))
        require_parity(self._figures, self._conversion.bounds)
        return reranker

    def _quantise(self, fp32: Reranker, exported: Path, directory: Path) -> Reranker:
        feeds = _calibration_feeds(fp32, self._conversion.texts)
        self._watcher.announce(
            f"quantising, with scales from {sum(len(each['input_ids']) for each in feeds)} pairs"
        )
        quantise_static(exported / WEIGHTS, directory / WEIGHTS, feeds)
        reranker = self._load(directory, "int8")
        self._watcher.announce("comparing int8 with fp32")
        for texts in self._conversion.texts:
            rows = parity_pairs(texts, fp32)
            expected, found = (
                [model.score_pairs(row, raw=True).scores for row in rows] for model in (fp32, reranker)
            )
            self._note(INT8_VS_FP32, texts.language, compare(expected, found))
        require_parity(self._figures, self._conversion.bounds)
        return reranker

    def _note(self, comparison: str, language: str, found: PairParity) -> None:
        self._figures.setdefault(comparison, {})[language] = found
        self._watcher.announce(
            f"  {comparison} {language}: {found.pairs} pairs, largest difference"
            f" {found.largest_difference:.1e}, order kept {found.order_kept:.3f}"
        )

    def _parity(self) -> dict[str, Any]:
        return {
            comparison: {language: asdict(found) for language, found in languages.items()}
            for comparison, languages in self._figures.items()
        }

    def _load(self, directory: Path, precision: Precision) -> Reranker:
        self._describe(directory, precision, {})
        return Reranker.load(directory, torch.get_num_threads())

    def _describe(self, directory: Path, precision: Precision, parity: dict[str, Any]) -> ModelManifest:
        """Put the tokenizer and a manifest beside the weights in `directory`."""
        self._source.tokenizer.save(str(directory / TOKENIZER), pretty=False)
        names = (WEIGHTS, WEIGHTS_DATA, TOKENIZER, GOLDEN)
        provenance = self._conversion.provenance
        manifest = ModelManifest(
            name=provenance.name,
            kind="reranker",
            source=provenance.source,
            licence=provenance.licence,
            precision=precision,
            files={name: describe_file(directory / name) for name in names if (directory / name).is_file()},
            parity=parity,
            reranker=self._source.spec,
        )
        write_manifest(directory, manifest)
        return manifest


def _calibration_feeds(reranker: Reranker, texts: Sequence[ParityTexts]) -> list[Feed]:
    """Batches of pairs as the graph takes them: near ones, far ones, short ones and some that are cut."""
    pairs = [("", ""), ("water", "вода"), ("水", "water")]
    for sample in texts:
        passages = [*sample.calibration, *reversed(sample.passages)][:_CALIBRATION_PAIRS]
        queries = [sample.queries[place % len(sample.queries)] for place in range(len(passages))]
        pairs += zip(queries, passages, strict=True)
        pairs += [(passage[:200], passage) for passage in passages[::8]]
        pairs.append((sample.queries[0], " ".join(passages[:20])))
    tokenized = sorted(reranker.tokenize(pairs), key=lambda pair: len(pair.ids))
    return [_feed(tokenized[start : start + _BATCH], reranker) for start in range(0, len(tokenized), _BATCH)]


def _feed(batch: Sequence[TokenizedPair], reranker: Reranker) -> Feed:
    longest = max(len(pair.ids) for pair in batch)

    def padded(rows: list[list[int]]) -> Any:
        return np.array([[*row, *[0] * (longest - len(row))] for row in rows], dtype=np.int64)

    feed = {
        "input_ids": padded([pair.ids for pair in batch]),
        "attention_mask": padded([[1] * len(pair.ids) for pair in batch]),
        "token_type_ids": padded([pair.segments for pair in batch]),
    }
    return {name: feed[name] for name in graph_inputs(reranker.spec)}
