"""One collection's index: vectors, words and metadata of its chunks, searched together.

Readers take the published snapshot and never wait. The one writer makes the next snapshot beside it and
publishes it by swapping one reference, so a search sees all of an `apply` or nothing of it.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from threading import Lock

from embeddings.errors import InvalidInput
from retrieval.builds.disk import Disk
from retrieval.builds.layout import LEXICAL
from retrieval.builds.manifest import BuildOrigin, read_manifest
from retrieval.builds.opening import open_part
from retrieval.builds.sealing import MAX_DEAD_SHARE, SealOptions, seal
from retrieval.candidates import Candidates
from retrieval.changes import check_changes, unknown_field
from retrieval.filters import Filter, conditions
from retrieval.lexical import LexicalIndex, link_files
from retrieval.ranking import SearchRequest, find_candidates, rank_chunks
from retrieval.sealed import SealedPart
from retrieval.search_index import IndexStatistics
from retrieval.snapshot import Snapshot
from retrieval.types import IndexedChunk, RankedList

__all__ = ["CollectionIndex", "IndexStatistics", "SearchRequest"]

# Newer rows are searched one by one: at most 50,000 of them, 2 ms, or a tenth of what the build holds.
MIN_RECENT_ROWS = 4_096
MAX_RECENT_ROWS = 50_000
RECENT_SHARE = 0.1


class CollectionIndex:
    """A searchable collection that follows the sequence numbers of its source of truth."""

    def __init__(self, dimension: int, workspace: Path | None = None) -> None:
        """Empty. workspace: an existing folder for its files; None: all of it in memory, never sealed."""
        if workspace is not None:
            (workspace / LEXICAL).mkdir()
        self._start(None, SealedPart.empty(dimension), 0, workspace)

    @classmethod
    def open(cls, build: Path, workspace: Path) -> "CollectionIndex":
        """An index that goes on from a build.

        workspace: an existing folder on the build's disk, for this index alone; it links the word index.
        Raises BuildDamaged. The checksums are the caller's to verify (retrieval.builds.manifest).
        """
        manifest = read_manifest(build)
        part = open_part(build, manifest)
        link_files(build / LEXICAL, workspace / LEXICAL)
        opened = cls.__new__(cls)
        opened._start(build, part, manifest.max_seq, workspace)
        return opened

    def _start(self, build: Path | None, part: SealedPart, seq: int, workspace: Path | None) -> None:
        self._build = build
        self._lexical = LexicalIndex(None if workspace is None else workspace / LEXICAL)
        self._snapshot = Snapshot.of_build(part, self._lexical.snapshot(), seq)
        self._writing = Lock()

    @property
    def build(self) -> Path | None:
        """The directory of the build that it goes on from."""
        return self._build

    @property
    def sealable(self) -> bool:
        """Whether it has a workspace, and so can be made a build of."""
        return self._lexical.on_disk

    @property
    def dimension(self) -> int:
        return self._snapshot.dimension

    @property
    def needs_build(self) -> bool:
        """Whether so much is new or dead that a build would serve better."""
        snapshot = self._snapshot
        newer, sealed = len(snapshot.recent), len(snapshot.sealed)
        crowded = newer > min(MAX_RECENT_ROWS, max(MIN_RECENT_ROWS, RECENT_SHARE * sealed))
        return crowded or (snapshot.dead_share > MAX_DEAD_SHARE and sealed >= MIN_RECENT_ROWS)

    def seal(
        self,
        scratch: Path,
        target: Path,
        origin: BuildOrigin,
        options: SealOptions | None = None,
        disk: Disk | None = None,
    ) -> Path:
        """Write all that it holds as a build into the folder `target`; returns the new directory.

        scratch: a folder of the same disk that does not exist yet. Searches and changes go on meanwhile; the
        build holds what the index held when the call began. Raises InvalidInput without a workspace.
        """
        scratch.mkdir()
        with self._writing:
            snapshot = self._snapshot
            if not self._lexical.link_to(scratch / LEXICAL):
                raise InvalidInput(
                    "an index in memory cannot be sealed", expected="an index with a workspace"
                )
        return seal(snapshot, scratch, target, origin, options, self._build, disk)

    def refresh(self) -> None:
        """Nobody else writes into it, so there is nothing to learn."""

    def close(self) -> None:
        """Its files go with their folder and its memory with the last search."""

    def statistics(self) -> IndexStatistics:
        """How large it is, all from one snapshot."""
        snapshot = self._snapshot
        return IndexStatistics(len(snapshot), len(snapshot.recent), snapshot.dead_share, snapshot.seq)

    @property
    def seq(self) -> int:
        """The sequence number up to which changes can be found; 0 at first."""
        return self._snapshot.seq

    def __len__(self) -> int:
        """Chunks that can be found."""
        return len(self._snapshot)

    def apply(self, additions: Sequence[IndexedChunk], deleted_documents: Collection[int], seq: int) -> None:
        """Take in changes, all at once: a search that starts later finds them.

        deleted_documents: document keys whose chunks go. They go first, so a key may come again in
        `additions`. A chunk whose id is there already replaces it. Raises InvalidInput, and changes
        nothing, when a vector has another dimension, an id comes twice, or seq goes back.
        """
        with self._writing:
            before = self._snapshot
            check_changes(before.seq, before.dimension, additions, seq)
            replaced = [chunk.chunk_id for chunk in additions]
            after = before.without(deleted_documents, replaced).extended(additions)
            lexical = self._lexical.rewrite(additions, deleted_documents, before.present(replaced))
            self._snapshot = after.published(lexical, seq)

    def search(self, request: SearchRequest) -> RankedList:
        """The best chunks for a request, all from one snapshot.

        Raises InvalidInput when the vector is missing or of another dimension, limit is below 1 or offset
        below 0.
        """
        return rank_chunks(self._snapshot, request)

    def candidates(self, request: SearchRequest) -> Candidates:
        """What hybrid mode would fuse for a request. Raises InvalidInput as `search` does for the vector."""
        return find_candidates(self._snapshot, request)

    def check_fields(self, filter_: Filter) -> None:
        """Raise InvalidInput when a filter compares a field that no document has: it is a slip of the pen.

        `$exists` may ask for any field, and a filter on no documents at all finds nothing.
        """
        tables = [table for table in self._snapshot.metadata() if table.rows]
        for condition in conditions(filter_):
            lacking = bool(tables) and all(table.lacks(condition.field) for table in tables)
            if condition.operator != "$exists" and lacking:
                known = {key for table in tables for row in table.rows for key in row}
                raise unknown_field(condition.field, known)
