"""What an answer may look like: a mask over the vocabulary for each next token.

The automata are llguidance's (https://github.com/guidance-ai/llguidance), which is loaded with the first
constraint.
"""

import json
import re
import threading
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders

from embeddings.errors import InvalidInput
from generation.causal.grammars import choice_grammar, grounded_grammar

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

# Between two JSON tokens: enough to indent, and an end to the blanks that a weak model may not find itself.
_JSON_BLANKS = r"[ \n]{0,16}"
_MAX_CHOICES = 1000


class Constraint(Protocol):
    """Where one sequence stands in what it may write."""

    @property
    def finished(self) -> bool:
        """True when only the end may follow."""
        ...

    def mask(self) -> NDArray[np.bool_] | None:
        """(vocabulary,) true for each token that may come next; None when all may.

        An end token is among them when the answer may end here.
        """
        ...

    def accept(self, token_id: int) -> None:
        """Go on by a token that the mask allows. Raises ValueError for another."""
        ...

    def copy(self) -> "Constraint":
        """An independent constraint that stands at the same place."""
        ...


class GrammarConstraint:
    """A place in a grammar. vocabulary_size: columns of the mask. eos: what ends an answer.

    Not safe for several threads at once; copies are independent.
    """

    def __init__(self, matcher: "LLMatcher", vocabulary_size: int, eos: Collection[int]) -> None:
        self._matcher = matcher
        self._vocabulary_size = vocabulary_size
        self._eos = tuple(eos)
        self._ended = False

    @property
    def finished(self) -> bool:
        if self._ended:
            return True
        stopped = self._matcher.is_stopped()
        if stopped:
            self._check()
        return stopped

    def mask(self) -> NDArray[np.bool_]:
        """(vocabulary,) true for each token that may come next.

        Raises InvalidInput when the grammar has grown too complex to follow.
        """
        if self.finished:
            allowed = np.zeros(self._vocabulary_size, dtype=np.bool_)
            allowed[list(self._eos)] = True
            return allowed
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        return np.unpackbits(bits, count=self._vocabulary_size, bitorder="little").view(np.bool_)

    def accept(self, token_id: int) -> None:
        """Go on by a token that the mask allows. Raises ValueError for another, InvalidInput as `mask`."""
        if token_id in self._eos and (self.finished or self._matcher.is_accepting()):
            self._ended = True
            return
        if self.finished or self._matcher.try_consume_tokens([token_id]) != 1:
            self._check()
            raise ValueError(f"token {token_id} is not allowed here, expected one of the mask")

    def copy(self) -> "GrammarConstraint":
        twin = GrammarConstraint(self._matcher.deep_copy(), self._vocabulary_size, self._eos)
        twin._ended = self._ended
        return twin

    def _check(self) -> None:
        if self._matcher.is_error():
            found = _one_line(self._matcher.get_error())
            raise InvalidInput(
                f"the constraint cannot be followed any further: {found}",
                field="response_format",
                found=found,
                expected="a schema or pattern with fewer alternatives",
            )


class ConstraintCompiler:
    """Makes the constraints of one decoder. Safe for several threads.

    vocabulary_size: columns of the logits, at least as many as the tokenizer has tokens. eos: end tokens.
    """

    def __init__(self, tokenizer: Tokenizer, vocabulary_size: int, eos: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary_size = vocabulary_size
        self._eos = tuple(eos)
        self._lock = threading.Lock()

    def json_schema(self, schema: dict[str, Any]) -> Constraint:
        """JSON that is valid by the schema, with its properties in the schema's order.

        Raises InvalidInput for a schema that is wrong, or that uses what cannot be enforced token by token.
        """
        grammar = self._matcher_class.grammar_from_json_schema(
            json.dumps(schema), overrides={"whitespace_pattern": _JSON_BLANKS}
        )
        return self._compile(grammar, "json_schema", "a JSON schema without keywords that cannot be enforced")

    def json_object(self) -> Constraint:
        """Any JSON object."""
        return self.json_schema({"type": "object"})

    def regex(self, pattern: str) -> Constraint:
        """A text that matches the pattern as a whole. Raises InvalidInput for a pattern that is wrong.

        The syntax is that of Rust's regex crate: there are no look-arounds and no references to groups.
        """
        grammar = self._matcher_class.grammar_from_regex(pattern)
        return self._compile(grammar, "regex", "a regular expression without look-arounds and references")

    def choice(self, choices: Sequence[str]) -> Constraint:
        """Exactly one of the texts. Raises InvalidInput for none, an empty one, or more than 1000."""
        expected = f"1 to {_MAX_CHOICES} texts, none of them empty"
        if not 1 <= len(choices) <= _MAX_CHOICES or not all(choices):
            found = f"{len(choices)} texts, {sum(not each for each in choices)} of them empty"
            raise InvalidInput(f"choice holds {found}", field="choice", found=found, expected=expected)
        grammar = self._matcher_class.grammar_from_lark(choice_grammar(choices))
        return self._compile(grammar, "choice", expected)

    def grounded(self, passages: Sequence[str], marks: Sequence[str]) -> Constraint:
        """Spans of the passages, word for word, each followed by the mark of its passage, such as [1].

        marks: one for each passage. Raises InvalidInput when no passage holds a word, or when together they
        are too long for an automaton.
        """
        if len(passages) != len(marks) or not any(re.search(r"\w", passage) for passage in passages):
            raise InvalidInput(
                f"{len(passages)} passages with {len(marks)} marks give no span to write",
                field="passages",
                found=f"{len(passages)} passages, {len(marks)} marks",
                expected="passages that hold words, each with its mark",
            )
        grammar = self._matcher_class.grammar_from_lark(grounded_grammar(passages, marks))
        return self._compile(grammar, "passages", "fewer or shorter passages")

    def _compile(self, grammar: str, field: str, expected: str) -> Constraint:
        matcher = self._matcher_class(self._vocabulary, grammar, log_level=0, limits=_limits())
        if matcher.is_error():
            found = _one_line(matcher.get_error())
            raise InvalidInput(f"{field}: {found}", field=field, found=found, expected=expected)
        return GrammarConstraint(matcher, self._vocabulary_size, self._eos)

    @cached_property
    def _matcher_class(self) -> "type[LLMatcher]":
        from llguidance import LLMatcher  # noqa: PLC0415  # 60 ms that only a constrained request pays

        return LLMatcher

    @property
    def _vocabulary(self) -> "LLTokenizer":
        with self._lock:
            return self._built_vocabulary

    @cached_property
    def _built_vocabulary(self) -> "LLTokenizer":
        from llguidance import LLTokenizer  # noqa: PLC0415

        described = _describe_tokenizer(self._tokenizer)
        try:
            return LLTokenizer(described, n_vocab=self._vocabulary_size, eos_token=list(self._eos))
        except ValueError as error:
            found = _one_line(str(error))
            raise InvalidInput(
                f"the tokens of this decoder cannot be constrained: {found}",
                field="response_format",
                found=found,
                expected="a decoder with a byte-level or SentencePiece tokenizer and an end token",
            ) from error


def _describe_tokenizer(tokenizer: Tokenizer) -> str:
    """The tokenizer as JSON from which llguidance can tell the bytes of each token.

    It refuses the decoder "Metaspace", but knows its steps.
    """
    if not isinstance(tokenizer.decoder, decoders.Metaspace):
        return str(tokenizer.to_str())
    described = json.loads(tokenizer.to_str())
    blank = {"type": "Replace", "pattern": {"String": tokenizer.decoder.replacement}, "content": " "}
    described["decoder"] = {
        "type": "Sequence",
        "decoders": [blank, {"type": "ByteFallback"}, {"type": "Fuse"}],
    }
    return json.dumps(described)


def _limits() -> "LLParserLimits":
    from llguidance import LLParserLimits  # noqa: PLC0415

    # Twenty passages of 700 characters take 2 million of this fuel; the default is 1 million. A pattern that
    # burns all of it is given up after about 0.4 s. A state takes 1 to 2 kB.
    return LLParserLimits(initial_lexer_fuel=20_000_000, max_lexer_states=50_000)


def _one_line(error: str) -> str:
    """A grammar's error, short enough for an answer."""
    return " ".join(error.partition("<state>")[0].split())[:300]
