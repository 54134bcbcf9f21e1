"""Which function does the jobs of which kind. Only the worker imports this."""

from app.jobs.ingest_files import ingest_files
from app.jobs.reindexing import REINDEX, reindex
from app.jobs.runner import JobFunction
from app.jobs.service import INGEST_FILES, TRAIN
from app.jobs.snapshot import SNAPSHOT, snapshot
from app.jobs.training import train_encoder

# A kind is added here: `async def function(context: JobContext) -> dict[str, Any]`, the dict being JSON.
FUNCTIONS: dict[str, JobFunction] = {
    INGEST_FILES: ingest_files,
    REINDEX: reindex,
    SNAPSHOT: snapshot,
    TRAIN: train_encoder,
}
