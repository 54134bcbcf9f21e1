"""What is wrong with a written query, as far as rules can tell."""

import re
from itertools import pairwise

from training.siamese.claims import count_words
from training.siamese.drafts import Draft
from training.siamese.term_weights import TermWeights

MIN_QUESTION_WORDS = 3
MAX_QUESTION_WORDS = 30
REPEATED_WORDS = 5  # of the passage's beginning: a question that repeats them asks for nothing

_OPENINGS = re.compile(
    r"(?:(?:in|at|on|for|to|of|by|with|from|under|during) )?"
    r"(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|do|does|did|can|could|will|would|should|"
    r"has|have|had)\b",
    re.IGNORECASE,
)
_DISAGREEMENT = re.compile(
    r"how many\b(?!.*\b(?:are|were|have|do|did|does|can|could|will|would|has)\b)"
    r"|how many people (?:is|was) "
    r"|what (?:are|were) the (?:name|term|kind|type|role|effect|purpose|number)\b(?!s)"
    r"|what (?:is|was) the (?:names|terms|kinds|types|results|effects|changes)\b"
    r"|(?:what|who|how|why|when|where) (?:(?:do|does|did) )?(?:of|to|for|about)\b"
    r"|(?:why|when) (?:did|does|do) .*\b(?:the|a|an|of|to)\W*$",
    re.IGNORECASE,
)
_LAST_WORD_OPEN = re.compile(r"\b(?:the|a|an|of|and|or|that|which|his|her|their|its)\W*$", re.IGNORECASE)


def find_fault(draft: Draft, weights: TermWeights) -> str | None:
    """Why a query should not be trained with; None when it may."""
    content = weights.content(draft.query)
    if draft.source != "decoder":
        return "says little" if len(content) < 2 and count_words(draft.query) < 4 else None
    if not set(content) & set(weights.content(draft.passage.text)):
        return "no word of the passage"
    return _question_fault(draft)


def _question_fault(draft: Draft) -> str | None:
    words = re.findall(r"\w+", draft.query.casefold())
    if not MIN_QUESTION_WORDS <= len(words) <= MAX_QUESTION_WORDS:
        return "length of a question"
    if _repeats_beginning(words, draft.passage.body):
        return "repeats the passage"
    if _stutters(words):
        return "repeats itself"
    if not _OPENINGS.match(draft.query) or not draft.query.endswith("?"):
        return "no question"
    wrong = _DISAGREEMENT.match(draft.query) or _LAST_WORD_OPEN.search(draft.query)
    return "ungrammatical" if wrong else None


def _repeats_beginning(words: list[str], body: str) -> bool:
    beginning = re.findall(r"\w+", body[:400].casefold())[:REPEATED_WORDS]
    runs = (words[i : i + REPEATED_WORDS] for i in range(len(words) - REPEATED_WORDS + 1))
    return len(beginning) == REPEATED_WORDS and beginning in runs


def _stutters(words: list[str]) -> bool:
    """Whether a word follows itself, or a longer one or a pair of words comes twice."""
    long_words = [word for word in words if len(word) > 4]
    couples = list(pairwise(words))
    follows = any(first == second for first, second in couples)
    return follows or len(set(long_words)) < len(long_words) or len(set(couples)) < len(couples)
