"""How much of a question an answer's surroundings speak of."""

from generation.sentences import split_sentences
from retrieval.analysis import terms

_STOP_WORDS = frozenset(
    terms(
        "a about after all also an and any are as at be been before being between but by can could "
        "did do does during for from had has have he her him his how i if in into is it its many me "
        "more most much my no not of on or other our out over she should so some such than that the "
        "their them then there these they this those through to under up us was we were what when "
        "where which while who whom whose why will with would you your name one kind type called "
        "describe explain"
    )
)


def coverage(question: str, text: str, start: int, end: int) -> float:
    """Share of the question's content words that stand in the sentences of `text[start:end]` or in the ones
    next to them, 0 to 1; 1 for a question without content words.
    """
    wanted = set(terms(question)) - _STOP_WORDS
    if not wanted:
        return 1.0
    spans = split_sentences(text)
    touched = [i for i, span in enumerate(spans) if span[0] < end and span[1] > start]
    near = spans[max(0, touched[0] - 1) : touched[-1] + 2] if touched else []
    held = {term for first, last in near for term in terms(text[first:last])}
    return len(wanted & held) / len(wanted)
