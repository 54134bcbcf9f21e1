"""Runs an ONNX decoder: any graph whose state tensors go in as `past.*` and come out as `present.*`.

The manifest names the state and the token layout, so nothing here knows the architecture.
"""

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
    refuse_below: answer probability under which the decoder does better to refuse, fitted on held-out
    questions.
    """

    layout: PromptLayout
    state: list[StateTensor]
    prompt: str
    refuse_below: Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class DecoderState:
    """A decoder after some tokens; never changed, so that one state can be continued in several ways.

    past: state tensors by name. log_probs: (vocabulary,) of the next token. copy_probs: (length,) how much
    of that mass comes from copying each token before. answer_length: tokens of the answer so far, [BEGIN]
    included.
    """

    past: dict[str, Any]
    log_probs: NDArray[np.float32]
    copy_probs: NDArray[np.float32]
    answer_length: int


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
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as in the encoder
        weights = str(directory / manifest.weights)
        session = ort.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        tokenizer: Tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return cls(session, spec, tokenizer, manifest.model_id)

    def start(self, prompt: Prompt) -> DecoderState:
        """Prefill: read the prompt and predict the first token of the answer."""
        past = {tensor.name: _empty(tensor) for tensor in self.spec.state}
        return self._run(past, prompt.token_ids, prompt.segments, prompt.positions, answer_length=1)

    def advance(self, state: DecoderState, token_id: int) -> DecoderState:
        """Read one more token of the answer and predict the next."""
        return self._run(
            state.past,
            np.asarray([token_id], dtype=np.int64),
            np.asarray([ANSWER_SEGMENT], dtype=np.int64),
            np.asarray([self.spec.layout.answer_position + state.answer_length], dtype=np.int64),
            answer_length=state.answer_length + 1,
        )

    def _run(
        self,
        past: dict[str, Any],
        token_ids: NDArray[np.int64],
        segments: NDArray[np.int64],
        positions: NDArray[np.int64],
        answer_length: int,
    ) -> DecoderState:
        """State stays in ONNX Runtime's own memory: copying it to NumPy would cost more than a small
        layer.
        """
        feeds = {
            "input_ids": _tensor(token_ids),
            "segment_ids": _tensor(segments),
            "position_ids": _tensor(positions),
            "logit_positions": _tensor(np.asarray([len(token_ids) - 1], dtype=np.int64)),
            **{f"past.{name}": value for name, value in past.items()},
        }
        log_probs, copy_probs, *present = self._session.run_with_ort_values(
            self._outputs, feeds, _run_options(len(token_ids))
        )
        return DecoderState(
            past=dict(zip((tensor.name for tensor in self.spec.state), present, strict=True)),
            log_probs=log_probs.numpy()[0, 0],
            copy_probs=copy_probs.numpy()[0, 0],
            answer_length=answer_length,
        )


def _run_options(tokens: int) -> ort.RunOptions:
    """After a prompt the arena gives its memory back: prompts of every length would each leave their size."""
    options = ort.RunOptions()
    if tokens > 1:
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
