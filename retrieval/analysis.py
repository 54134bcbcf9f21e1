"""Text to the terms that the lexical engine counts; the same analysis for chunks and for queries.

What becomes of a run of letters depends on its script:

    Latin       accents folded, stemmed by Snowball English
    Cyrillic    ё folded to е, stemmed by Snowball Russian
    without spaces (Han, Kana, Hangul, Thai, ...)   every character and every pair of neighbours
    any other   as it stands, lower-cased

Identifiers (`snake_case`, `camelCase`) give their whole and their parts, so that code is found by either.

Measured on the data of ../shared/data (nDCG@10, BM25 alone): characters with pairs .975 / .974 / .985 on
xquad_retrieval/zh, drcd/dev and cmrc2018_trial, pairs alone .973 / .965 / .983, jieba words .970 / .950 /
.977 at ten times the time.
"""

import re
import unicodedata
from functools import lru_cache
from itertools import chain, pairwise

import Stemmer  # type: ignore[import-not-found]  # compiled, without type information

MAX_TERM_CHARACTERS = 64  # longer runs are base64, hashes or minified code: no one searches them whole

# Han, Kana, Hangul, Thai, Lao, Myanmar, Khmer: written without spaces, or with endings glued on.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = (
    "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff"  # accents, vowel points, Indic signs
)
_LETTER = rf"(?:[^\W{_UNSPACED}]+|[{_MARKS}]+)"
_RUN = re.compile(rf"\d+(?:[.,]\d+)+(?!{_LETTER})|{_LETTER}+|[{_UNSPACED}]+")
_STARTS_UNSPACED = re.compile(rf"[{_UNSPACED}]")
_THOUSANDS = re.compile(r",(?=\d{3}(?!\d))")
_POSSESSIVE = re.compile(r"['’]s\b", re.IGNORECASE)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_+")
_CYRILLIC = re.compile(r"[\u0400-\u052f]")
_LATIN = re.compile(r"[a-z\u00df-\u024f\u1e00-\u1eff]")
_ACCENTS = re.compile(r"[\u0300-\u036f]")

# A Stemmer object must not be entered twice at once: its calls hold the interpreter lock from start to end.
_ENGLISH = Stemmer.Stemmer("english", 0)
_RUSSIAN = Stemmer.Stemmer("russian", 0)

_CODE_SIGNS = re.compile(r"[(){}\[\]=;_<>]")
# Share of the visible characters. Median (and 90th percentile) by collection of ../shared/data: cosqa .076
# (.114), FastAPI's pages .036 (.063), the Rust book .018 (.030), scifact .005 (.016), Russian and Chinese
# text .003 (.014).
MIN_CODE_SIGNS = 0.04
_MIN_CODE_SIGN_COUNT = 6  # a title with a pair of brackets is no code


def looks_like_code(text: str) -> bool:
    """Whether a text is mostly source code, by its share of brackets, assignments and underscores."""
    signs = len(_CODE_SIGNS.findall(text))
    return signs >= _MIN_CODE_SIGN_COUNT and signs > MIN_CODE_SIGNS * (len(text) - text.count(" "))


_IDENTIFIER = re.compile(r"[^\W_]_+[^\W_]|[a-z0-9][A-Z]|\w\(")


def names_code(query: str) -> bool:
    """Whether a query quotes source code: an identifier such as `get_user`, `getUser` or `get(`."""
    return _IDENTIFIER.search(query) is not None


def terms(text: str) -> list[str]:
    """The index terms of a text, in order, repeats kept. None of them holds white space."""
    runs = _RUN.findall(_POSSESSIVE.sub("", unicodedata.normalize("NFKC", text)))
    return list(chain.from_iterable(map(_run_terms, runs)))


@lru_cache(maxsize=50_000)  # a text repeats its words: about 10 MB that make analysis several times faster
def _run_terms(run: str) -> tuple[str, ...]:
    if _STARTS_UNSPACED.match(run):
        return (*run, *map("".join, pairwise(run)))
    run = run[:MAX_TERM_CHARACTERS]
    if run[0].isdigit() and ("." in run or "," in run):
        return tuple(part for part in _THOUSANDS.sub("", run).split(",") if part)
    return _word_terms(run)


def _word_terms(word: str) -> tuple[str, ...]:
    """The terms of one word: its stem, or whole and parts of an identifier."""
    parts = [_stem(part.lower()) for part in _HUMP.split(word) if part]
    return (word.lower(), *parts) if len(parts) > 1 else tuple(parts)


def _stem(word: str) -> str:
    bare = (
        word if word.isascii() else _ACCENTS.sub("", word)
    )  # stress marks; й and é are single characters here
    if _CYRILLIC.search(bare):
        return str(_RUSSIAN.stemWord(bare.replace("ё", "е")))
    if _LATIN.search(bare):
        return str(_ENGLISH.stemWord(_fold_accents(bare)))
    return bare


def _fold_accents(word: str) -> str:
    return word if word.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", word))
