"""Words that tell one group of texts from the others."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import log, sqrt

from retrieval.analysis import terms

_WORD = re.compile(r"[^\W\d_]{3,}")


def telling_words(groups: Sequence[Sequence[str]], most: int = 5) -> list[list[str]]:
    """For each group of texts the words that it uses more than the others do, the most telling first.

    Words are counted by their stems, once a text, and shown in their commonest form. Their measure is the
    log-odds ratio with the words of all texts as prior, in standard deviations, so that common words need no
    list. Source: Monroe, Colaresi and Quinn, "Fightin' Words", Political Analysis 2008.
    """
    forms: dict[str, Counter[str]] = {}
    counts = [_count(texts, forms) for texts in groups]
    everything: Counter[str] = sum(counts, Counter())
    return [[forms[stem].most_common(1)[0][0] for stem in _telling(own, everything, most)] for own in counts]


def _count(texts: Sequence[str], forms: dict[str, Counter[str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        seen = {}
        for word in _WORD.findall(text.lower()):
            for stem in terms(word):
                seen[stem] = word if len(word) <= 2 * len(stem) else stem
        counts.update(seen.keys())
        for stem, word in seen.items():
            forms.setdefault(stem, Counter())[word] += 1
    return counts


def _telling(own: Counter[str], everything: Mapping[str, int], most: int) -> list[str]:
    """Stems by their z-score; only those that the group uses more than the others."""
    total, inside = sum(everything.values()), sum(own.values())
    scored = [
        (_deviations(count, inside, everything[stem], total), stem)
        for stem, count in own.items()
        if len(stem) > 1
    ]
    best = sorted((pair for pair in scored if pair[0] > 0), key=lambda pair: (-pair[0], pair[1]))
    return [stem for _, stem in best[:most]]


def _deviations(count: int, inside: int, overall: int, total: int) -> float:
    """How far the odds of a word in a group are above those in the other groups, in standard deviations."""
    outside, rest = overall - count, total - inside
    own = log((count + overall) / (inside + total - count - overall + 1))
    other = log((outside + overall) / (rest + total - outside - overall + 1))
    return (own - other) / sqrt(1 / (count + overall) + 1 / (outside + overall))
