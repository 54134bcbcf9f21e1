"""A span drawn token by token: what a temperature above 0 asks for."""

from collections.abc import Callable, Sequence

import numpy as np

from generation.candidates import choose_token
from generation.grounding import SpanCursor, mask_except
from generation.outlook import Outlook, Root
from generation.sampling import SamplingSettings
from generation.written import Written


def draw_span(
    outlook: Outlook, end_token: int, longest: int, sampling: SamplingSettings, cancelled: Callable[[], bool]
) -> Written | None:
    """Draw a marker and then tokens until the end or `longest`; None when cancelled, which is asked before
    each pass.
    """
    rng = sampling.generator()
    root = _draw_root(outlook.roots, sampling, rng)
    tokens, cursor, log_likelihood = [root.marker], root.cursor, root.log_prob
    while cursor.length < longest:
        if cancelled():
            return None
        prediction = outlook.branches.behind(tuple(tokens))
        token = choose_token(mask_except(prediction.log_probs, cursor.allowed(end_token)), sampling, rng)
        log_likelihood += float(prediction.log_probs[token])
        if token == end_token:
            return _written(tokens, cursor, log_likelihood, ended=True)
        tokens.append(token)
        cursor = cursor.advance(token, prediction.copy_probs)
    return _written(tokens, cursor, log_likelihood, ended=False)


def _draw_root(roots: Sequence[Root], sampling: SamplingSettings, rng: np.random.Generator) -> Root:
    return roots[choose_token(np.asarray([root.log_prob for root in roots], np.float32), sampling, rng)]


def _written(tokens: Sequence[int], cursor: SpanCursor, log_likelihood: float, *, ended: bool) -> Written:
    return Written(
        tokens=tuple(tokens),
        number=cursor.passage.tokens.number,
        start=cursor.span()[0],
        end=cursor.span()[1],
        log_likelihood=log_likelihood,
        margin=0.0,  # nothing else was looked for
        finish="stop" if ended else "length",
    )
