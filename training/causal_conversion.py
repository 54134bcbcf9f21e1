"""Convert a causal decoder to an artifact of Footnote, behind a parity gate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import onnx
import torch

from embeddings.artifact import (
    TOKENIZER,
    WEIGHTS,
    ModelManifest,
    describe_file,
    load_manifest,
    write_manifest,
)
from generation.causal.model import CausalModel
from generation.causal.spec import CausalSpec
from training.causal_assembly import assemble, state_tensors
from training.causal_blueprint import Blueprint
from training.causal_card import CARD, Evidence, causal_card
from training.causal_parity import (
    FP32_VS_ORIGINAL,
    CausalBounds,
    LogitParity,
    Perplexity,
    compare_perplexity,
    compare_with_original,
    overall,
    require_logits,
    require_perplexity,
)
from training.causal_quantisation import Quantisation, in_words
from training.causal_reading import read_blueprint
from training.causal_source import CHAT_TEMPLATE, CausalSource
from training.causal_weights import Float32, WeightForm
from training.encoder_conversion import Watcher
from training.encoder_export import WEIGHTS_DATA
from training.encoder_folder import appearing_whole, check_output
from training.encoder_origin import Provenance
from training.parity_texts import ParityTexts

# A file of ONNX is a message of at most 2 GB; the nodes need a little of it.
_INLINE_BYTES = 1_900_000_000


@dataclass(frozen=True, slots=True)
class CausalConversion:
    """What to make of a decoder. texts: to compare on; overwrite: whether a folder in the place of `output`
    may go.
    """

    output: Path
    provenance: Provenance
    texts: tuple[ParityTexts, ...]
    quantisation: Quantisation = field(default_factory=Quantisation)
    bounds: CausalBounds = field(default_factory=CausalBounds)
    overwrite: bool = False


def convert_decoder(
    source: CausalSource, conversion: CausalConversion, watcher: Watcher | None = None
) -> ModelManifest:
    """Assemble, compare, quantise, compare and, only then, let the artifact appear in the output.

    Raises Conflict for an output that is taken, InvalidInput for a quantisation that does not exist,
    ModelDamaged with the figure when one is out of bounds.
    """
    check_output(conversion.output, conversion.overwrite)
    forms = conversion.quantisation.forms()
    run = _Run(source, conversion, watcher or Watcher())
    with appearing_whole(conversion.output) as staging:
        run.convert(staging, forms)
    return load_manifest(conversion.output)


class _Run:
    """One conversion on its way."""

    def __init__(self, source: CausalSource, conversion: CausalConversion, watcher: Watcher) -> None:
        self._source = source
        self._conversion = conversion
        self._watcher = watcher
        self._logits: dict[str, LogitParity] = {}
        self._perplexities: dict[str, Perplexity] = {}
        self._notes = list(source.notes)

    def convert(self, staging: Path, forms: Sequence[WeightForm]) -> None:
        """Leave the whole artifact, and nothing else, in `staging`."""
        blueprint = read_blueprint(self._source.model, self._source.context_tokens)
        spec = self._spec(blueprint)
        exported = staging / "fp32"
        exported.mkdir()
        form: WeightForm = Float32()
        fp32 = self._export(blueprint, spec, exported)
        if forms:
            form = self._quantise(blueprint, spec, fp32, forms, staging)
        else:
            for path in exported.iterdir():
                path.rename(staging / path.name)
        self._finish(staging, spec, form)
        for path in exported.iterdir():
            path.unlink()
        exported.rmdir()

    def _export(self, blueprint: Blueprint, spec: CausalSpec, directory: Path) -> CausalModel:
        self._watcher.announce(f"assembling the graph of {len(blueprint.blocks)} layers")
        fp32 = self._write(blueprint, spec, Float32(), directory, "fp32")
        self._watcher.announce("comparing it with the original")
        self._logits = compare_with_original(self._source.model, fp32, self._conversion.texts)
        for language, found in self._logits.items():
            self._watcher.announce(
                f"  {FP32_VS_ORIGINAL} {language}: {found.tokens} tokens, largest difference"
                f" {found.largest_difference:.1e}"
            )
        require_logits(self._logits, self._conversion.bounds)
        return fp32

    def _quantise(
        self,
        blueprint: Blueprint,
        spec: CausalSpec,
        fp32: CausalModel,
        forms: Sequence[WeightForm],
        directory: Path,
    ) -> WeightForm:
        """The first form within bounds; its graph is then in the directory. Raises ModelDamaged for none."""
        precision = self._conversion.quantisation.precision
        for form in forms:
            self._watcher.announce(f"quantising: {in_words(form)}")
            quantised = self._write(blueprint, spec, form, directory, precision)
            self._perplexities = compare_perplexity(fp32, quantised, self._conversion.texts)
            for language, found in (*self._perplexities.items(), ("all", overall(self._perplexities))):
                self._announce_perplexity(language, found)
            if overall(self._perplexities).ratio <= self._conversion.bounds.perplexity_ratio:
                return form
        require_perplexity(self._perplexities, self._conversion.bounds)
        return forms[-1]

    def _announce_perplexity(self, language: str, found: Perplexity) -> None:
        self._watcher.announce(
            f"  perplexity {language}: {found.quantised:.4g} against {found.fp32:.4g} in fp32, ratio"
            f" {found.ratio:.3f}; same choice after {found.same_choice:.1%} of {found.tokens} tokens"
        )

    def _write(
        self, blueprint: Blueprint, spec: CausalSpec, form: WeightForm, directory: Path, precision: str
    ) -> CausalModel:
        for name in (WEIGHTS, WEIGHTS_DATA):
            (directory / name).unlink(missing_ok=True)
        save_graph(assemble(blueprint, form), directory / WEIGHTS)
        self._describe(directory, spec, precision, {})
        return CausalModel.load(directory, torch.get_num_threads())

    def _finish(self, directory: Path, spec: CausalSpec, form: WeightForm) -> None:
        parity: dict[str, Any] = {
            FP32_VS_ORIGINAL: {language: asdict(found) for language, found in self._logits.items()}
        }
        if self._perplexities:
            figures = {**self._perplexities, "all": overall(self._perplexities)}
            parity["perplexity"] = {
                language: {**asdict(found), "ratio": found.ratio} for language, found in figures.items()
            }
        manifest = self._describe(directory, spec, self._conversion.quantisation.precision, parity)
        evidence = Evidence(self._logits, self._perplexities, in_words(form), self._notes)
        (directory / CARD).write_text(causal_card(manifest, spec, evidence), encoding="utf-8")

    def _spec(self, blueprint: Blueprint) -> CausalSpec:
        source = self._source
        return CausalSpec(
            prompt="causal",
            architecture=source.architecture,
            vocabulary_size=source.vocabulary_size,
            context_tokens=source.context_tokens,
            state=state_tensors(blueprint),
            position_ids=False,
            window_tokens=blueprint.window_tokens,
            bos=source.bos,
            eos=source.eos,
            chat_template=None if source.chat_template is None else CHAT_TEMPLATE,
            defaults=source.defaults,
        )

    def _describe(
        self, directory: Path, spec: CausalSpec, precision: str, parity: dict[str, Any]
    ) -> ModelManifest:
        """Put the tokenizer, the chat template and a manifest beside the weights in `directory`."""
        self._source.tokenizer.save(str(directory / TOKENIZER), pretty=False)
        if self._source.chat_template is not None:
            (directory / CHAT_TEMPLATE).write_text(self._source.chat_template, encoding="utf-8")
        names = (WEIGHTS, WEIGHTS_DATA, TOKENIZER, CHAT_TEMPLATE)
        provenance = self._conversion.provenance
        manifest = ModelManifest(
            name=provenance.name,
            kind="decoder",
            source=provenance.source,
            licence=provenance.licence,
            precision=precision,
            files={name: describe_file(directory / name) for name in names if (directory / name).is_file()},
            parity=parity,
            graph=msgspec.to_builtins(spec),
        )
        write_manifest(directory, manifest)
        return manifest


def save_graph(model: onnx.ModelProto, path: Path, inline_bytes: int = _INLINE_BYTES) -> None:
    """Write a graph; weights above `inline_bytes` go into the file WEIGHTS_DATA beside it."""
    if sum(len(constant.raw_data) for constant in model.graph.initializer) <= inline_bytes:
        onnx.save(model, path)
        return
    onnx.save(model, path, save_as_external_data=True, location=WEIGHTS_DATA)
