"""How much memory and how many requests the engine takes on."""

from dataclasses import dataclass

from embeddings.errors import InvalidInput
from generation.causal.slots import state_bytes
from generation.causal.spec import CausalSpec

# Of a slot, unless the options say more: the longest prompts of /answer, and most conversations.
_USUAL_CONTEXT = 4096
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """slots: sequences that are decoded together. max_tokens: of prompt and answer in a slot; None: the
    model's context, at most 4,096. kv_bytes: of all slots when full; with it, slots get shorter, down to
    what `max_tokens` asks for. prefix_bytes: of the store of prompt beginnings; 0 is off. prefill_chunk:
    tokens of a prompt that are read in one pass, and so between two steps of the others; longer passes cost
    no less a token (107M in int8, 512 tokens: 213 ms in chunks of 64, 185 of 128, 191 of 256, 229 whole).
    queue: requests that wait for a slot.
    Raises InvalidInput for a value out of range.
    """

    slots: int = 8
    max_tokens: int | None = None
    kv_bytes: int | None = None
    prefix_bytes: int = 256 * MIB
    prefill_chunk: int = 128
    queue: int = 64

    def __post_init__(self) -> None:
        for field, least in (("slots", 1), ("prefix_bytes", 0), ("prefill_chunk", 1), ("queue", 1)):
            found = getattr(self, field)
            if found < least:
                raise InvalidInput(
                    f"{field} is {found}, expected {least} or more",
                    field=field,
                    found=str(found),
                    expected=f"{least} or more",
                )

    def context_tokens(self, spec: CausalSpec) -> int:
        """Tokens that a slot holds. Raises InvalidInput when the memory does not suffice for them."""
        usual = min(spec.context_tokens, _USUAL_CONTEXT)
        asked = usual if self.max_tokens is None else self.max_tokens
        if not 2 <= asked <= spec.context_tokens:
            raise InvalidInput(
                f"max_tokens is {asked}, the decoder reads {spec.context_tokens}",
                field="max_tokens",
                found=str(asked),
                expected=f"2 to {spec.context_tokens}",
            )
        return asked if self.kv_bytes is None else self._affordable(spec, asked, self.kv_bytes)

    def _affordable(self, spec: CausalSpec, asked: int, kv_bytes: int) -> int:
        token_bytes = state_bytes(spec.state) * self.slots
        fitting = min(asked, kv_bytes // token_bytes)
        if fitting < (self.max_tokens or 2):
            raise InvalidInput(
                f"{kv_bytes // MIB} MiB hold {fitting} tokens in each of {self.slots} slots; {asked} are"
                " asked for",
                field="kv_bytes",
                found=str(kv_bytes),
                expected=f"at least {asked * token_bytes}",
                next_step="give the decoder more memory, fewer slots or a shorter context",
            )
        return fitting
