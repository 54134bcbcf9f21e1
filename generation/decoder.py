"""Runs an ONNX decoder: any graph whose state tensors go in as `past.*` and come out as `present.*`.

The manifest names the state and the token layout, so nothing here knows the architecture.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embeddings.artifact import TOKENIZER, ModelManifest, load_manifest
from embeddings.errors import ModelDamaged
from embeddings.sessions import ask_exact_products
from generation.confidence import ConfidenceModel
from generation.prompt import ANSWER_SEGMENT, Prompt, PromptLayout

_LOG_PROBS, _COPY_PROBS = "log_probs", "copy_probs"


class StateTensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor that the graph hands on from token to token. shape: sizes; "batch" and "past" vary ("past"
    starts at 0).
    """

    name: str
    dtype: str
    shape: list[int | str]


class DecoderSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The `graph` section of a decoder's manifest.

    prompt: only "whole" for now, a prompt that is seen in both directions and prefilled in one piece.
    refuse_below: probability of a right answer under which the decoder does better to refuse, fitted on
    held-out questions. confidence: how that probability is weighed; None: it is the one of answering at all.
    """

    layout: PromptLayout
    state: list[StateTensor]
    prompt: str
    refuse_below: Annotated[float, msgspec.Meta(ge=0, le=1)]
    confidence: ConfidenceModel | None = None


@dataclass(frozen=True, slots=True)
class BranchTokens:
    """Tokens to write behind what a branch holds already.

    branch: 0 is the trunk, which all branches see; any other number is a branch, which no other branch sees.
    predict_after: indices among the tokens behind which the next one is to be predicted; -1 is the last.
    """

    branch: int
    token_ids: tuple[int, ...]
    predict_after: tuple[int, ...] = (-1,)


@dataclass(frozen=True, slots=True)
class DecoderState:
    """A decoder after some tokens; never changed, so that one state can be continued in several ways.

    past: state tensors by name. written: the answer's tokens by branch, without the begin token.
    rows: (n, vocabulary) log-probabilities of the token after each of the n tokens last asked for, in the
    order of the call. copy_rows: (n, length) how much of that mass comes from copying each token before.
    """

    past: dict[str, Any]
    written: Mapping[int, tuple[int, ...]]
    rows: NDArray[np.float32]
    copy_rows: NDArray[np.float32]

    @property
    def log_probs(self) -> NDArray[np.float32]:
        """(vocabulary,) of the token after the last one written."""
        return np.asarray(self.rows[-1])

    @property
    def copy_probs(self) -> NDArray[np.float32]:
        """(length,) of the token after the last one written."""
        return np.asarray(self.copy_rows[-1])


@dataclass(frozen=True, slots=True)
class _Feed:
    """What one pass reads, each (Q,) and int64, and what it predicts, each (K,): indices among the Q."""

    token_ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    positions: NDArray[np.int64]
    predicted: NDArray[np.int64]
    previous: NDArray[np.int64]
    named: NDArray[np.int64]


class Decoder:
    """A decoder session. Safe for several threads: all state is in `DecoderState`."""

    def __init__(
        self, session: ort.InferenceSession, spec: DecoderSpec, tokenizer: Tokenizer, model_id: str
    ) -> None:
        self._session = session
        self._outputs = [_LOG_PROBS, _COPY_PROBS, *(f"present.{tensor.name}" for tensor in spec.state)]
        self.spec = spec
        self.tokenizer = tokenizer
        self.model_id = model_id

    @classmethod
    def load(cls, directory: Path, threads: int) -> "Decoder":
        """Open the artifact in `directory` with `threads` compute threads. Raises ModelDamaged."""
        manifest = load_manifest(directory)
        spec = _read_spec(directory, manifest)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads wait awake between the nodes of a pass, and sleep when it ends: with 445 tokens of passages
        # 47 ms a question instead of 55 (2 cores).
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # The usual products put probabilities off by up to .08 where there is no VNNI; exact ones cost a
        # seventh more there.
        ask_exact_products(options)
        weights = str(directory / manifest.weights)
        session = ort.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        tokenizer: Tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(session, spec, tokenizer, manifest.model_id)

    def start(self, prompt: Prompt) -> DecoderState:
        """Prefill: read the prompt and predict the first token of the answer."""
        past = {tensor.name: _empty(tensor) for tensor in self.spec.state}
        none = np.zeros(1, dtype=np.int64)
        last = np.asarray([len(prompt) - 1], dtype=np.int64)
        feed = _Feed(prompt.token_ids, prompt.segments, prompt.positions, last, none, none)
        return self._run(past, feed, {}, _run_options(shrink=True))

    def advance(self, state: DecoderState, token_id: int) -> DecoderState:
        """Write one more token on the trunk and predict the next."""
        return self.extend(state, [BranchTokens(0, (token_id,))])

    def extend(self, state: DecoderState, additions: Sequence[BranchTokens]) -> DecoderState:
        """Write on several branches in one pass, each named at most once, and predict what follows.

        A branch begins where the trunk ends, so the trunk cannot grow once there are branches (ValueError).
        """
        trunk = state.written.get(0, ())
        if any(state.written.keys() - {0}) and any(addition.branch == 0 for addition in additions):
            raise ValueError("the trunk has branches already, expected to grow before them only")
        written = dict(state.written)
        for addition in additions:
            written[addition.branch] = (*written.get(addition.branch, ()), *addition.token_ids)
        parts = [
            self._feed(written[each.branch] if each.branch == 0 else (*trunk, *written[each.branch]), each)
            for each in additions
        ]
        return self._run(state.past, _join(parts), written, _run_options(shrink=False))

    def _feed(self, answer: tuple[int, ...], addition: BranchTokens) -> _Feed:
        """answer: all that the branch sees of the answer, the addition included."""
        layout, count = self.spec.layout, len(addition.token_ids)
        places = np.asarray(addition.predict_after, dtype=np.int64) % count
        before = np.asarray([0, *answer], dtype=np.int64)[len(answer) - count : -1]
        named = layout.passage_tokens.index(answer[0]) + 1 if answer[0] in layout.passage_tokens else 0
        first = layout.answer_position + 1 + len(answer) - count
        return _Feed(
            np.asarray(addition.token_ids, dtype=np.int64),
            np.full(count, ANSWER_SEGMENT + addition.branch, dtype=np.int64),
            np.arange(first, first + count, dtype=np.int64),
            places,
            before[places],
            np.full(len(places), named, dtype=np.int64),
        )

    def _run(
        self,
        past: dict[str, Any],
        feed: _Feed,
        written: Mapping[int, tuple[int, ...]],
        options: ort.RunOptions,
    ) -> DecoderState:
        """State stays in ONNX Runtime's own memory: copying it to NumPy would cost more than a small
        layer.
        """
        feeds = {
            "input_ids": _tensor(feed.token_ids),
            "segment_ids": _tensor(feed.segments),
            "position_ids": _tensor(feed.positions),
            "logit_positions": _tensor(feed.predicted),
            "previous_ids": _tensor(feed.previous),
            "named_passages": _tensor(feed.named),
            **{f"past.{name}": value for name, value in past.items()},
        }
        log_probs, copy_probs, *present = self._session.run_with_ort_values(self._outputs, feeds, options)
        return DecoderState(
            past=dict(zip((tensor.name for tensor in self.spec.state), present, strict=True)),
            written=written,
            rows=log_probs.numpy()[0],
            copy_rows=copy_probs.numpy()[0],
        )


def _join(parts: Sequence[_Feed]) -> _Feed:
    """One pass for all parts, one behind the other."""
    lengths = [len(part.token_ids) for part in parts]
    offsets = np.cumsum([0, *lengths[:-1]])
    return _Feed(
        np.concatenate([part.token_ids for part in parts]),
        np.concatenate([part.segments for part in parts]),
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.predicted + offset for part, offset in zip(parts, offsets, strict=True)]),
        np.concatenate([part.previous for part in parts]),
        np.concatenate([part.named for part in parts]),
    )


def _run_options(*, shrink: bool) -> ort.RunOptions:
    """shrink: the arena gives its memory back afterwards: prompts of every length would each leave their
    size.
    """
    options = ort.RunOptions()
    if shrink:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def _read_spec(directory: Path, manifest: ModelManifest) -> DecoderSpec:
    try:
        spec = msgspec.convert(manifest.graph, DecoderSpec)
    except msgspec.ValidationError as error:
        raise _unfit(
            directory, f"a graph section in which {error}", "one of this version of Footnote"
        ) from error
    if spec.prompt != "whole":
        raise _unfit(directory, f"prompts of kind {spec.prompt!r}", "'whole'")
    return spec


def _unfit(directory: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"the decoder in {directory} cannot be run: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="convert the model again with this version of Footnote",
    )


def _tensor(row: NDArray[np.int64]) -> Any:
    """A batch of one."""
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(row[None]))


def _empty(tensor: StateTensor) -> Any:
    """The state before the first token."""
    sizes = {"batch": 1, "past": 0}
    shape = [sizes[size] if isinstance(size, str) else size for size in tensor.shape]
    return ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, dtype=tensor.dtype))
