"""A causal decoder's session, tokenizer and spec, and one pass of tokens through its graph."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from embeddings.artifact import TOKENIZER, load_manifest
from embeddings.errors import ModelDamaged
from embeddings.sessions import ask_exact_products
from generation.causal.slots import SlotBuffer
from generation.causal.spec import CausalSpec, is_causal, read_causal_spec

# Bindings that are kept: one for each stretch of slots that was in use together.
_BINDINGS = 64


@dataclass(frozen=True, slots=True)
class CausalModel:
    """An opened artifact. chat_template: the text of it, None when the model has none."""

    session: ort.InferenceSession
    tokenizer: Tokenizer
    spec: CausalSpec
    model_id: str
    chat_template: str | None = None

    @classmethod
    def load(cls, directory: Path, threads: int) -> Self:
        """Open the artifact in `directory` with `threads` compute threads. Raises ModelDamaged."""
        manifest = load_manifest(directory)
        if not is_causal(manifest.graph):
            raise _not_causal(directory, manifest.graph.get("prompt"))
        spec = read_causal_spec(directory, manifest)
        template = spec.chat_template and (directory / spec.chat_template).read_text(encoding="utf-8")
        tokenizer: Tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        session = _open_session(directory / manifest.weights, threads)
        return cls(session, tokenizer, spec, manifest.model_id, template)


def _open_session(weights: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Within a pass threads wait for the next of its 200 nodes without going to sleep (a third faster, one
    # token at a time); between passes they sleep, so that an idle service takes no processor time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    ask_exact_products(options)
    try:
        return ort.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions have no common type
        raise ModelDamaged(
            f"{weights} cannot be opened: {error}",
            found=f"a graph that ONNX Runtime {ort.__version__} refuses",
            expected="a graph that it runs",
            next_step="convert the model again with this version of Footnote",
        ) from error


def _not_causal(directory: Path, found: object) -> ModelDamaged:
    return ModelDamaged(
        f"the decoder in {directory} takes prompts of kind {found!r}, the engine runs 'causal' ones",
        found=repr(found),
        expected="'causal'",
        next_step="name another model",
    )


class PassRunner:
    """Runs passes over neighbouring slots of one buffer. For the thread that owns the buffer.

    Everything is bound in place: state that a pass writes lies in the buffer at once, and the logits lie in
    memory that the next pass overwrites. before: called when all is ready and the pass is about to start.
    """

    def __init__(
        self, model: CausalModel, slots: SlotBuffer, before: Callable[[], None] = lambda: None
    ) -> None:
        self._before = before
        self._session = model.session
        self._spec = model.spec
        self._slots = slots
        self._bindings: OrderedDict[tuple[int, int], Any] = OrderedDict()
        self._mask = np.empty(0, dtype=np.int64)
        self._logits = np.empty(0, dtype=np.float32)
        self._columns = np.arange(slots.max_tokens, dtype=np.int64)
        self._after_prompt = ort.RunOptions()
        self._after_prompt.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def run(
        self,
        first: int,
        token_ids: NDArray[np.int64],
        wanted: NDArray[np.int64],
        *,
        shrink: bool = False,
    ) -> NDArray[np.float32]:
        """Read tokens behind what the slots hold, without changing the slots' lengths.

        first: the first of `batch` neighbouring slots; token_ids: (batch, tokens), of which only a batch of
        one may have several (GroupQueryAttention of ONNX Runtime 1.31 refuses more); wanted: (k,) places
        whose logits to give, at least one. shrink: give the arena's memory back afterwards, for the last
        pass over a prompt: prompts of every length would each leave their size.
        Returns (batch, k, vocabulary), valid until the next call.
        """
        batch, tokens = token_ids.shape
        filled = self._slots.lengths[first : first + batch] + tokens  # (batch,)
        binding = self._binding(first, batch)
        _bind(binding, "input_ids", token_ids)
        mask = self._mask_of(filled)
        _bind(binding, "attention_mask", mask)
        _bind(binding, "logit_positions", wanted)
        if self._spec.position_ids:
            positions = (filled - tokens)[:, None] + self._columns[:tokens]
            _bind(binding, "position_ids", positions)
        logits = self._logits_of(batch, len(wanted))
        binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
        self._before()
        self._session.run_with_iobinding(binding, self._after_prompt if shrink else None)
        return logits

    def _mask_of(self, filled: NDArray[np.int64]) -> NDArray[np.int64]:
        """(batch, total), ones where a row is filled."""
        total = int(filled.max())
        size = len(filled) * total
        if size > self._mask.size:
            self._mask = np.empty(size, dtype=np.int64)
        mask = self._mask[:size].reshape(len(filled), total)
        np.less(self._columns[:total], filled[:, None], out=mask, casting="unsafe")
        return mask

    def _logits_of(self, batch: int, wanted: int) -> NDArray[np.float32]:
        size = batch * wanted * self._spec.vocabulary_size
        if size > self._logits.size:
            self._logits = np.empty(size, dtype=np.float32)
        return self._logits[:size].reshape(batch, wanted, self._spec.vocabulary_size)

    def _binding(self, first: int, batch: int) -> Any:
        """With the state of these slots bound, which costs more than all the rest of a pass's preparation."""
        binding = self._bindings.get((first, batch))
        if binding is None:
            binding = self._session.io_binding()
            for tensor, array in zip(self._spec.state, self._slots.arrays, strict=True):
                view = array[first : first + batch]
                _bind(binding, f"past.{tensor.name}", view)
                binding.bind_output(
                    f"present.{tensor.name}", "cpu", 0, view.dtype.type, view.shape, view.ctypes.data
                )
            self._bindings[first, batch] = binding
            if len(self._bindings) > _BINDINGS:
                self._bindings.popitem(last=False)
        self._bindings.move_to_end((first, batch))
        return binding


def _bind(binding: Any, name: str, array: NDArray[Any]) -> None:
    binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
