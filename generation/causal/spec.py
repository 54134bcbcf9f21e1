"""The `graph` section of a causal decoder's manifest: what its ONNX graph takes and gives.

Inputs: `input_ids` (batch, tokens) int64; `attention_mask` (batch, total) int64, 1 for the rows that are
filled once the tokens are read, 0 to the right of them, `total` at least the largest number of them;
`position_ids` (batch, tokens) int64 where the spec says so; `logit_positions` (k,) int64, the places along
the token axis whose logits are wanted, gathered before the head, so that prefill doesn't pay the vocabulary
for each token; `past.<name>` for each state tensor. Outputs: `logits` (batch, k, vocabulary) float32;
`present.<name>`.

The attention is GroupQueryAttention over a shared buffer: `past.<name>` and `present.<name>` are bound to the
same memory (batch, heads, rows, head size), and the tokens are written into the rows that the mask implies:
the last `tokens` of the filled ones.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from embeddings.artifact import ModelManifest
from embeddings.errors import ModelDamaged
from generation.decoder import StateTensor

_Positive = Annotated[int, msgspec.Meta(ge=1)]
_TokenId = Annotated[int, msgspec.Meta(ge=0)]


class GenerationDefaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the model's authors would sample from it; a request that says nothing gets these."""

    temperature: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    top_k: Annotated[int, msgspec.Meta(ge=0)] = 0
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class CausalSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run a decoder that reads its prompt from left to right.

    architecture: "qwen3", for people; vocabulary_size: columns of the logits; context_tokens: prompt and
    answer together; state: in the graph's order, "0.key", "0.value", "1.key", ..., of shape ["batch", heads,
    "past", head size]; position_ids: the graph takes them; window_tokens: of the layers with a sliding
    window, which the graph keeps by itself; eos: each of them ends an answer; chat_template: a file of the
    artifact.
    """

    prompt: Literal["causal"]
    architecture: str
    vocabulary_size: _Positive
    context_tokens: _Positive
    state: list[StateTensor]
    position_ids: bool
    eos: tuple[_TokenId, ...]
    window_tokens: _Positive | None = None
    bos: _TokenId | None = None
    chat_template: str | None = None
    defaults: GenerationDefaults = GenerationDefaults()


def is_causal(graph: dict[str, Any]) -> bool:
    """Whether the `graph` section of a manifest is a causal decoder's."""
    return graph.get("prompt") == "causal"


def read_causal_spec(directory: Path, manifest: ModelManifest) -> CausalSpec:
    """Read the spec from the manifest of the artifact in `directory`. Raises ModelDamaged."""
    try:
        spec = msgspec.convert(manifest.graph, CausalSpec)
    except msgspec.ValidationError as error:
        expected = "one of this version of Footnote"
        raise _unfit(directory, f"a graph section in which {error}", expected) from error
    if spec.chat_template is not None and spec.chat_template not in manifest.files:
        raise _unfit(directory, f"no file {spec.chat_template!r}", "the chat template among `files`")
    for tensor in spec.state:
        _check_state(directory, tensor)
    return spec


def _check_state(directory: Path, tensor: StateTensor) -> None:
    match tensor.shape:
        case ["batch", int(), "past", int()]:
            return
    raise _unfit(
        directory, f"the state {tensor.name} of shape {tensor.shape}", "['batch', heads, 'past', head size]"
    )


def _unfit(directory: Path, found: str, expected: str) -> ModelDamaged:
    return ModelDamaged(
        f"the decoder in {directory} cannot be run: found {found}, expected {expected}",
        found=found,
        expected=expected,
        next_step="convert the model again with this version of Footnote",
    )
