"""The README.md of a converted decoder: what it is, what conversion cost, its limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embeddings.artifact import ModelManifest
from generation.causal.spec import CausalSpec
from training.causal_parity import LogitParity, Perplexity, overall

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a conversion. perplexities: empty for fp32; weights: their form, in words."""

    logits: Mapping[str, LogitParity]
    perplexities: Mapping[str, Perplexity]
    weights: str
    notes: Sequence[str]


def causal_card(manifest: ModelManifest, spec: CausalSpec, evidence: Evidence) -> str:
    """The card in Markdown."""
    size = sum(file.size_bytes for name, file in manifest.files.items() if name.startswith("model.onnx"))
    return _CARD.format(
        manifest=manifest,
        spec=spec,
        size=f"{size / 1e6:.1f} MB",
        weights=evidence.weights,
        layers=len(spec.state) // 2,
        window=f", of which some layers see {spec.window_tokens}" if spec.window_tokens else "",
        chat="with a chat template" if spec.chat_template else "without a chat template",
        extras="".join(f"- {note}\n" for note in evidence.notes),
        logits="\n".join(
            f"| {language} | {found.tokens} | {found.largest_difference:.1e} |"
            for language, found in evidence.logits.items()
        ),
        perplexity=_perplexity(evidence.perplexities),
    )


def _perplexity(figures: Mapping[str, Perplexity]) -> str:
    if not figures:
        return ""
    rows = [*figures.items(), ("all", overall(figures))]
    return _PERPLEXITY + "".join(
        f"| {language} | {found.tokens} | {found.fp32:.4g} | {found.quantised:.4g} | {found.ratio:.3f} "
        f"| {found.same_choice:.3f} |\n"
        for language, found in rows
    )


_PERPLEXITY = """
Perplexity of the quantised graph against the fp32 graph; same choice is the share of tokens after which both
hold the same next token the likeliest.

| language | tokens | fp32 | quantised | ratio | same choice |
| --- | --- | --- | --- | --- | --- |
"""

_CARD = """# {manifest.name}, {manifest.precision}

Continues a text: a causal decoder of the type {spec.architecture}, {chat}.

- Source: {manifest.source}
- Licence: {manifest.licence}
- Form: an ONNX graph ({size}) of {layers} layers over a shared buffer of keys and values.
- Context: {spec.context_tokens} tokens of prompt and answer{window}.
- Weights: {weights}.
{extras}
## Parity with the original

Largest difference between two logits of the fp32 graph and of transformers, over chunks of a prompt and
single steps of several texts together.

| language | tokens | difference |
| --- | --- | --- |
{logits}
{perplexity}
## Limits

- What it says may be wrong; nothing in this folder ties it to a source.
- In a language that the model was not trained on it says little, and quantising costs most there.
- Parity was measured on short texts, not on the whole context.
- `footnote models convert` makes such a folder and writes nothing when a figure is out of bounds. Do not
  edit: `manifest.json` holds the SHA-256 of each file.
"""
