"""General sets: what an encoder may not forget while it learns a collection.

One comes with Footnote, `xquad_en` in BEIR form: 574 questions about 120 paragraphs of Wikipedia (see
`making`). Others are named by their path. Nothing here needs torch.
"""

from collections.abc import Sequence
from pathlib import Path

from embeddings.errors import InvalidInput
from retrieval.benchmark import RetrievalTask, load_task
from training.siamese.reading import read_sources
from training.siamese.splitting import ScoredTask, held_out_task, split
from training.siamese.types import Shape, TrainingData

BUILT_IN = "xquad_en"
FOLDER = Path(__file__).resolve().parent
_SEED = 7

Task = RetrievalTask | ScoredTask


def load_general(sources: Sequence[str | Path] = ()) -> dict[str, Task]:
    """The built-in set and those of `sources`, by their names as given.

    sources: folders in BEIR form, `FOLDER` (its test split, else dev) or `FOLDER:SPLIT`, and files of
    examples as training reads them; of scored pairs Spearman's correlation counts (STS), of the others how
    well they are found. Raises NotFound for what is missing, InvalidInput for what cannot be read.
    """
    named = {str(source): source for source in sources}
    return {BUILT_IN: load_task(FOLDER / BUILT_IN)} | {name: _load(each) for name, each in named.items()}


def _load(source: str | Path) -> Task:
    folder, _, part = str(source).rpartition(":")
    if folder and (Path(folder) / "qrels").is_dir():
        return load_task(Path(folder), part)
    if Path(source).is_dir():
        return load_task(Path(source))
    data = read_sources([source])
    if not len(data):
        raise InvalidInput(
            f"no examples in the general set {source}",
            field="general",
            found="no examples",
            expected="scored pairs, pairs or labelled texts",
        )
    if data.shape == Shape.LABELLED:  # one half is searched for texts like those of the other
        halves = split(data, 0.5, _SEED)
        return held_out_task(halves.held_out, halves.train)
    return held_out_task(data, TrainingData())
