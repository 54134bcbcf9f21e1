"""From a trained encoder to the artifact that serves: converted, compared with itself, with its card."""

import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from embeddings.artifact import MANIFEST, ModelManifest, load_manifest
from training.encoder_conversion import Conversion, convert_encoder
from training.encoder_folder import appearing_whole
from training.encoder_origin import Provenance, trace
from training.encoder_parity import ParityBounds
from training.encoder_source import EncoderSource, read_source
from training.minilm import minilm_directory
from training.parity_texts import BUILT_IN, CALIBRATION, FEWEST_TEXTS, ParityTexts
from training.siamese.card import write_card
from training.siamese.folder import CHECKPOINT
from training.siamese.plan import TrainingPlan

QUERIES = 40
PASSAGES = 120
QUERY_CHARS = 120
_SEED = 20_261_121
# The export itself has to be exact. What int8 loses may be more than in a conversion by hand: the judgement
# sees the int8 model and counts its losses in full, so that these bounds only stop one that is broken.
BOUNDS = ParityBounds(lowest_cosine=0.9, mean_cosine=0.96, top10_overlap=0.6)


def export_encoder(
    model_folder: Path,
    output: Path,
    plan: TrainingPlan,
    texts: Sequence[str],
    report: Mapping[str, Any],
) -> ModelManifest:
    """Make an int8 artifact of a folder of sentence-transformers; it appears whole, and replaces `output`.

    texts: of the collection; scales are measured and parity is checked on a sample of them, or on built-in
    ones where they are too few. report: of the run so far, for the card. The folder goes along in
    `checkpoint/`. Raises ModelDamaged when the model cannot be converted or strays from the original.
    """
    source = _with_dimensions(read_source(model_folder), plan.objective.matryoshka_dimensions)
    with appearing_whole(output) as staging:
        conversion = Conversion(
            staging, provenance(plan), collection_texts(texts), bounds=BOUNDS, overwrite=True
        )
        convert_encoder(source, conversion)
        shutil.copytree(model_folder, staging / CHECKPOINT)
        write_card(staging, report, model_folder.parent)
    return load_manifest(output)


def provenance(plan: TrainingPlan) -> Provenance:
    """What the manifest says of the origin: of what base, and on what terms that stands."""
    base = base_of(plan)
    source = f"retrained by Footnote from {base.name} (licence {base.licence}; {base.source})"
    return Provenance(plan.name, source, plan.licence)


def base_of(plan: TrainingPlan) -> Provenance:
    """Where the run started from: all-MiniLM-L6-v2, an artifact's checkpoint, or another folder."""
    if plan.base is None:
        found = trace(str(minilm_directory()), minilm_directory(), "all-MiniLM-L6-v2")
        return replace(found, licence="Apache-2.0")
    base = Path(plan.base)
    if base.name == CHECKPOINT and (base.parent / MANIFEST).is_file():
        manifest = load_manifest(base.parent)
        return Provenance(manifest.model_id, manifest.source, manifest.licence)
    return trace(plan.base, base)


def collection_texts(texts: Sequence[str]) -> tuple[ParityTexts, ...]:
    """A seeded sample: first lines stand for queries; scales are measured on other texts than parity."""
    different = [text for text in dict.fromkeys(texts) if text.strip()]
    if len(different) < FEWEST_TEXTS:
        return BUILT_IN[:1]
    rng = random.Random(_SEED)
    drawn = rng.sample(different, min(len(different), PASSAGES + 3 * CALIBRATION))
    spare = min(3 * CALIBRATION, len(drawn) // 5)
    passages, calibration = drawn[spare:], drawn[:spare]
    queries = dict.fromkeys(text.strip().partition("\n")[0][:QUERY_CHARS] for text in passages)
    return (ParityTexts("collection", tuple(queries)[:QUERIES], tuple(passages), tuple(calibration)),)


def _with_dimensions(source: EncoderSource, dimensions: Sequence[int]) -> EncoderSource:
    """Note the smaller sizes that the training aimed at too."""
    smaller = tuple(sorted({size for size in dimensions if size < source.spec.dimension}, reverse=True))
    if not smaller:
        return source
    return replace(source, spec=msgspec.structs.replace(source.spec, matryoshka_dimensions=smaller))
