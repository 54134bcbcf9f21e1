"""What the playground's script gets to see of a run: an event's name and its JSON."""

import math
from typing import Any

from msgspec import Struct

from app.services.playground import PassagesFound, PlaygroundEvent, PromptBuilt, RunEnded, TraceTold
from generation.causal.chat import ChatEvent, ChoiceDone, TextDelta, TokenLogprob, Usage
from generation.tracing import Alternative, TracedToken
from generation.types import Passage

# Characters of a passage that are shown of it.
SHOWN = 300


class TokenView(Struct, frozen=True, omit_defaults=True):
    """p: probability, 0 to 1; None where the decoder tells none. top: (text, probability, whether it ends the
    answer). copied: share of the probability that came from copying; end: the answer ends here.
    """

    t: str
    p: float | None = None
    top: tuple[tuple[str, float, bool], ...] = ()
    copied: float | None = None
    end: bool = False


def event_of(event: PlaygroundEvent) -> tuple[str, Any]:
    """The name and the payload."""
    match event:
        case TextDelta() | ChoiceDone() | Usage():
            return _of_chat(event)
        case PassagesFound():
            return "passages", [_passage(each) for each in event.passages]
        case PromptBuilt():
            turns = [{"role": turn.role, "content": turn.content} for turn in event.messages]
            return "prompt", {"messages": turns, "grounded": event.grounded}
        case TraceTold():
            return "trace", _trace(event)
        case RunEnded():
            return "ended", {"took_ms": round(event.took_ms)}


def _of_chat(event: ChatEvent) -> tuple[str, Any]:
    match event:
        case TextDelta():
            return "tokens", {"choice": event.choice, "tokens": _delta_tokens(event)}
        case ChoiceDone():
            return "choice", {"choice": event.choice, "finish": event.finish_reason}
        case Usage():
            counts = event.prompt_tokens, event.completion_tokens, event.cached_tokens
            return "usage", dict(zip(("prompt", "tokens", "cached"), counts, strict=True))


def _passage(passage: Passage) -> dict[str, Any]:
    return {"number": passage.number, "title": passage.title, "text": passage.text[:SHOWN]}


def _delta_tokens(delta: TextDelta) -> list[TokenView]:
    """A decoder that tells no probabilities has texts for tokens."""
    if not delta.logprobs:
        return [TokenView(delta.text)] if delta.text else []
    tokens = [_token(each) for each in delta.logprobs]
    told = "".join(each.t for each in tokens)
    if told == delta.text:
        return tokens
    if not delta.text:  # kept back: a part of a character, or what may become a stop sequence
        return [TokenView("", each.p, each.top) for each in tokens]
    # Several tokens make one character, or text that was kept back comes with the last one.
    return [*(TokenView("", each.p, each.top) for each in tokens[:-1]), _with_text(tokens[-1], delta.text)]


def _with_text(token: TokenView, text: str) -> TokenView:
    return TokenView(text, token.p, token.top)


def _token(token: TokenLogprob) -> TokenView:
    top = tuple((each.text, _probability(each.logprob), False) for each in token.top)
    return TokenView(token.text, _probability(token.logprob), top)


def _trace(told: TraceTold) -> dict[str, Any]:
    trace, reading = told.trace, told.trace.reading
    signals = reading.signals
    withheld = told.threshold is not None and reading.answer_probability < told.threshold
    return {
        "style": trace.style,
        "passage": reading.passage_number,
        "confidence": reading.answer_probability,
        "threshold": told.threshold,
        "withheld": withheld,
        "finish": reading.finish_reason,
        "tokens": [_traced(each) for each in trace.tokens],
        "passages": [{"number": each.number, "p": each.probability} for each in trace.passages],
        "rivals": [
            {"number": each.number, "text": each.text, "p": each.probability} for each in trace.rivals
        ],
        "signals": None if signals is None else {
            "answering": _odds(signals.answer_logit),
            "verdict": _odds(signals.verdict_logit),
            "likelihood": _probability(signals.log_likelihood),
            "margin": signals.margin,
            "coverage": signals.coverage,
        },
        "read": reading.prompt_tokens,
    }  # fmt: skip


def _traced(token: TracedToken) -> TokenView:
    return TokenView(
        token.text, _probability(token.logprob), tuple(map(_alternative, token.top)), token.copied, token.end
    )


def _alternative(each: Alternative) -> tuple[str, float, bool]:
    return each.text, _probability(each.logprob), each.end


def _probability(logprob: float) -> float:
    """0 to 1, in so many digits as anybody reads; servers round theirs above 0."""
    return round(math.exp(min(logprob, 0.0)), 5) if not math.isnan(logprob) else 0.0


def _odds(logit: float) -> float:
    return round(0.5 * (1 + math.tanh(logit / 2)), 4)
