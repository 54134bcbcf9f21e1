"""The README.md of a converted encoder: what it is, what it costs in quality, its limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embeddings.artifact import ModelManifest
from training.encoder_judgement import Judgement
from training.encoder_parity import Figures

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a conversion. texts: how many, by language; notes: from reading the source."""

    texts: Mapping[str, int]
    figures: Figures
    judgements: Sequence[Judgement]
    notes: Sequence[str]


def model_card(manifest: ModelManifest, evidence: Evidence) -> str:
    """The card in Markdown."""
    size_bytes = sum(
        file.size_bytes for name, file in manifest.files.items() if name.startswith("model.onnx")
    )
    return _CARD.format(
        manifest=manifest,
        spec=manifest.encoder,
        size=f"{size_bytes / 1e6:.1f} MB",
        precision=_PRECISION[manifest.precision],
        texts=", ".join(f"{count} texts in {language}" for language, count in evidence.texts.items()),
        rows="\n".join(_rows(evidence.figures)),
        ranking=_ranking(evidence.judgements),
        extras="".join(f"- {line}\n" for line in (*_extras(manifest), *evidence.notes)),
    )


_PRECISION = {
    "fp32": "32-bit floating point throughout",
    "int8": "linear layers and lookup tables are 8-bit, with scales measured once; the rest is 32-bit float",
}


def _rows(figures: Figures) -> list[str]:
    return [
        f"| {name.replace('_', ' ')} | {language} | {found.lowest_cosine:.4f} | {found.mean_cosine:.4f} "
        f"| {found.top10_overlap:.3f} | {found.largest_difference:.1e} |"
        for name, languages in figures.items()
        for language, found in languages.items()
    ]


def _ranking(judgements: Sequence[Judgement]) -> str:
    if not judgements:
        return "Ranking quality was not measured: name data with `--judge`."
    lines = ["| data | queries | nDCG@10 fp32 | nDCG@10 int8 |", "| --- | --- | --- | --- |"]
    for judged in judgements:
        int8 = "" if judged.int8 is None else f"{judged.int8:.4f}"
        lines.append(f"| {judged.data} ({judged.split}) | {judged.queries} | {judged.fp32:.4f} | {int8} |")
    return "\n".join(lines)


def _extras(manifest: ModelManifest) -> list[str]:
    spec = manifest.encoder
    if spec is None:
        return []
    lines = [f"Prompt `{name}`: {prompt!r}" for name, prompt in spec.prompts.items()]
    if spec.matryoshka_dimensions:
        sizes = ", ".join(map(str, spec.matryoshka_dimensions))
        lines.append(f"Vectors can be cut to {sizes} numbers.")
    return lines


_CARD = """# {manifest.name}, {manifest.precision}

Turns a text into a vector of {spec.dimension} numbers; texts of like meaning point the same way.

- Source: {manifest.source}
- Licence: {manifest.licence}
- Form: an ONNX graph ({size}) that ends before normalisation; Footnote scales vectors to length 1.
- Pooling, inside the graph: {spec.pooling}
- Input: at most {spec.max_tokens} tokens with the special ones.
- Precision: {precision}.
{extras}
## Parity with the original

Cosines are between the two vectors of a text; overlap is the share of a query's ten nearest passages that
stays; difference is the largest between two numbers of unit vectors. Measured on {texts}.

| comparison | language | lowest cosine | mean cosine | top-10 overlap | difference |
| --- | --- | --- | --- | --- | --- |
{rows}

{ranking}

## Limits

- A text in a language or script that the model was not trained on gets a vector that says little.
- `golden.json` holds vectors of a few texts. They are checked when the model is loaded: a processor that
  multiplies 8-bit numbers inexactly then takes other, slower kernels.
- `footnote models convert` makes such a folder and writes nothing when a figure is out of bounds. Do not
  edit: `manifest.json` holds the SHA-256 of each file.
"""
