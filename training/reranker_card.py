"""The README.md of a converted reranker: what it is, how near to its original, its limits."""

from collections.abc import Mapping

from embeddings.artifact import ModelManifest
from training.reranker_parity import PairParity

CARD = "README.md"


def reranker_card(manifest: ModelManifest, figures: Mapping[str, Mapping[str, PairParity]]) -> str:
    """The card in Markdown."""
    rows = [
        f"| {name.replace('_', ' ')} | {language} | {found.pairs} | {found.largest_difference:.1e} "
        f"| {found.order_kept:.3f} |"
        for name, languages in figures.items()
        for language, found in languages.items()
    ]
    return _CARD.format(manifest=manifest, spec=manifest.reranker, rows="\n".join(rows))


_CARD = """# {manifest.name}, {manifest.precision}

Reads a question and a text together and says how well the text answers the question.

- Source: {manifest.source}
- Licence: {manifest.licence}
- Form: an ONNX graph that ends in one number a pair; Footnote takes its sigmoid, 0 to 1.
- Input: at most {spec.max_tokens} tokens of question and text with the special ones; the text is cut.

## Parity with the original

Difference is the largest between two of the model's own numbers; order is the share of two candidates of a
question that stay in the same order.

| comparison | language | pairs | difference | order kept |
| --- | --- | --- | --- | --- |
{rows}

## Limits

- Scores of two rerankers are not comparable, nor are those of one to be read as probabilities.
- In a language or script that the model was not trained on, its order says little.
- `golden.json` holds scores of a few pairs, checked when the model is loaded. Do not edit: `manifest.json`
  holds the SHA-256 of each file.
"""
