"""Which form of weights a precision stands for, and what it may cost."""

from dataclasses import dataclass, replace
from typing import Literal

from embeddings.errors import InvalidInput
from training.causal_parity import CausalBounds
from training.causal_weights import Blocks, DynamicInt8, WeightForm

CausalPrecision = Literal["fp32", "int8", "int4"]
Scheme = Literal["dynamic", "symmetric", "affine"]
BLOCK_SIZES = (16, 32, 64, 128, 256)
_BITS: dict[str, Literal[4, 8]] = {"int8": 8, "int4": 4}
_USUAL_SCHEME: dict[str, Scheme] = {"int8": "dynamic", "int4": "symmetric"}
_USUAL_RATIO = {"fp32": 1.0, "int8": 1.05, "int4": 1.15}


@dataclass(frozen=True, slots=True)
class Quantisation:
    """How numbers are kept.

    scheme: "dynamic" for 8-bit columns with 8-bit activations, else blocks; None for the usual one of the
    precision. block_size: weights that share a scale.
    """

    precision: CausalPrecision = "int8"
    scheme: Scheme | None = None
    block_size: int = 32

    def forms(self) -> list[WeightForm]:
        """Forms to try one after the other until one is within bounds; none for fp32.

        Raises InvalidInput for what doesn't go together.
        """
        if self.precision == "fp32":
            return []
        scheme = self.scheme or _USUAL_SCHEME[self.precision]
        if scheme == "dynamic":
            if self.precision != "int8":
                raise _impossible("scheme", "dynamic with int4", "symmetric or affine, or --precision int8")
            return [DynamicInt8()]
        if self.block_size not in BLOCK_SIZES:
            raise _impossible("block", str(self.block_size), f"one of {', '.join(map(str, BLOCK_SIZES))}")
        quick = Blocks(_BITS[self.precision], self.block_size, affine=scheme == "affine")
        return [quick, replace(quick, exact=True)]

    def bounds(self, logit_difference: float = 1e-3, perplexity_ratio: float | None = None) -> CausalBounds:
        """The given bounds, or the usual ones of the precision."""
        usual = _USUAL_RATIO[self.precision]
        return CausalBounds(logit_difference, usual if perplexity_ratio is None else perplexity_ratio)


def in_words(form: WeightForm) -> str:
    """For the card and the progress lines."""
    match form:
        case DynamicInt8():
            return "8-bit columns with one scale each, activations 8-bit with one scale a pass"
        case Blocks(bits=bits, size=size, affine=affine, exact=exact):
            kind = "a scale and a zero point" if affine else "one scale"
            activations = "32-bit" if exact else "8-bit with one scale a block"
            return f"{bits}-bit blocks of {size} with {kind} each, activations {activations}"
        case _:
            return "32-bit floating point throughout"


def _impossible(field_name: str, found: str, expected: str) -> InvalidInput:
    return InvalidInput(
        f"there is no such quantisation: {found}", field=field_name, found=found, expected=expected
    )
