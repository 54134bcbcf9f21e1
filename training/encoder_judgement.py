"""What quantisation costs in ranking quality, on data that the caller names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from embeddings.encoder import Encoder
from retrieval.benchmark import RetrievalTask, load_task, rank_task
from retrieval.metrics import query_values
from retrieval.types import SearchMode

METRIC = "ndcg@10"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Judgement:
    """nDCG@10 of dense retrieval on one folder. data: its name; int8: None when only fp32 was made."""

    data: str
    split: str
    queries: int
    fp32: float
    int8: float | None = None

    @property
    def drop(self) -> float:
        """What int8 loses; below 0 when it gains."""
        return 0.0 if self.int8 is None else self.fp32 - self.int8


def load_judges(folders: Sequence[Path]) -> dict[str, RetrievalTask]:
    """Read folders in BEIR form, by the folders' names.

    Raises NotFound for a missing file, InvalidInput for a broken one, FootnoteError without the extra `eval`.
    """
    tasks = {folder.resolve().name: load_task(folder) for folder in folders}
    for task in tasks.values():
        query_values(task.qrels, {})  # fails now, not after an hour's work
    return tasks


def judge(
    data: str, task: RetrievalTask, fp32: Encoder, int8: Encoder | None, progress: Progress
) -> Judgement:
    """Rank the judged queries by vectors alone, with each graph."""
    values = [_ndcg(task, encoder, progress) for encoder in (fp32, int8) if encoder is not None]
    return Judgement(data, task.split, len(task.queries), *values)


def _ndcg(task: RetrievalTask, encoder: Encoder, progress: Progress) -> float:
    run = rank_task(task, encoder, SearchMode.DENSE, progress)
    return round(float(query_values(task.qrels, run)[METRIC].mean()), 5)
