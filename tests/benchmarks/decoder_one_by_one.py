"""Footnote's engine as in peers/footnote_gains.py, and grounded answers token by token to compare with."""

from collections.abc import Mapping
from typing import Any

import footnote_decoder
import footnote_gains
import numpy as np
from numpy.typing import NDArray

from generation.causal.constraints import Constraint
from generation.causal.requests import GenerationRequest
from generation.sampling import SamplingSettings

ONE_BY_ONE = "grounded, one token a pass"


class Unforced:
    """A `Constraint` that never leaves a single token: beside what another allows there is one that a bias
    keeps from being taken. So the engine takes nothing for certain, and writes the same answer.
    """

    def __init__(self, inner: Constraint) -> None:
        self._inner = inner

    @property
    def finished(self) -> bool:
        return self._inner.finished

    def mask(self) -> NDArray[np.bool_] | None:
        allowed = self._inner.mask()
        if allowed is None:
            return None
        allowed = allowed.copy()
        allowed[footnote_gains.NEVER] = True
        return allowed

    def accept(self, token_id: int) -> None:
        self._inner.accept(token_id)

    def copy(self) -> "Unforced":
        return Unforced(self._inner.copy())


class Decoder(footnote_gains.Decoder):
    """As in footnote_gains.py, with ONE_BY_ONE as another constraint."""

    def _time_answer(self, record: Mapping[str, Any], constraint: str, lookup: bool) -> list[float]:
        if constraint != ONE_BY_ONE:
            return super()._time_answer(record, constraint, lookup)
        sampling = SamplingSettings(
            max_tokens=len(record["answer"]),
            ignore_eos=True,
            logit_bias=((footnote_gains.NEVER, -100.0),),
        )
        bound = Unforced(self._constraint(record, "grounded"))
        prompt = tuple(record["prompt"])
        request = GenerationRequest(prompt, sampling, constraint=bound, lookup=False, prefix_cache=False)
        times: list[float] = []
        footnote_decoder.follow(self._engine.submit(request), times)
        return times
