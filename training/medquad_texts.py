"""MedQuAD's questions and answers, freed of what the web pages left in them: doubled question marks, lists
that lost their lines, references to other pages.
"""

import random
import re
from typing import Any

from generation.sentences import split_sentences
from training.sentence_texts import content_stems

# MedQuAD made its questions from the focus and the kind of a page, with one wording for each kind.
_WORDINGS = {
    "information": ("What is {}?", "What is {}?", "Describe {}.", "Explain what {} is."),
    "symptoms": ("What are the symptoms of {}?", "What are the signs of {}?", "How does {} show itself?"),
    "treatment": ("What are the treatments for {}?", "How is {} treated?", "How do doctors treat {}?"),
    "causes": ("What causes {}?", "Why do people get {}?"),
    "exams and tests": ("How is {} diagnosed?", "How to diagnose {}?"),
    "prevention": ("How to prevent {}?", "How can {} be prevented?"),
    "inheritance": ("Is {} inherited?", "How is {} inherited?"),
    "frequency": ("How many people are affected by {}?", "How common is {}?"),
    "genetic changes": ("What are the genetic changes related to {}?", "What genes are involved in {}?"),
    "outlook": ("What is the outlook for {}?", "What is the prognosis of {}?"),
    "susceptibility": ("Who is at risk for {}?", "Who gets {}?"),
    "research": ("What research is being done for {}?",),
    "stages": ("What are the stages of {}?",),
    "complications": ("What are the complications of {}?",),
    "considerations": ("What to do for {}?", "What should I know about {}?"),
}
_GARBAGE = re.compile(
    r"\b(?:these resources|on this page|key points|click here|see the|the following (?:list|table|resources)"
    r"|human phenotype ontology|medlineplus|web ?site|for more information|more information about|www\.|http"
    r"|orphanet|fact sheet|learn more|pdf|video|frequency of .* unknown|(?:listed|table|see) below)\b"
    r"|summary ?:|\(list may|\bhpo\b",
    re.IGNORECASE,
)
_LIST = re.compile(r"\s[-*•]\s.*\s[-*•]\s|(?:include|following|such as)\s*:?\s*[-*•]?\s*$|:$|\s[-*•]\s[A-Z]")
_ENDS = re.compile(r"[.!?][\"')\]]*$")
_READ = 2500  # characters of an answer; a sentence that is cut there has no end and is dropped
_LONGEST_SENTENCE = 360  # characters; longer ones are lists whose lines were joined


def medical_question(row: dict[str, Any], rng: random.Random) -> str | None:
    """The row's question in one of several wordings; None where the focus is no name."""
    focus = " ".join(row["focus"].replace("?", "").split())
    wordings = _WORDINGS.get(row["qtype"])
    if wordings is None or not 1 <= len(focus.split()) <= 8:
        return None
    return rng.choice(wordings).format(focus)


def medical_answer(answer: str) -> list[str]:
    """The good sentences that an answer begins with, behind its repeated question; none when it begins with
    a list or a reference.
    """
    answer = answer[:_READ]
    texts = [" ".join(answer[start:end].split()) for start, end in split_sentences(answer)]
    while texts and texts[0].endswith("?"):
        texts.pop(0)
    good: list[str] = []
    for text in texts:
        if not _is_prose(text):
            break
        good.append(text)
    return good


def speaks_of(answer: str, focus: str) -> bool:
    """Whether an answer has half of its illness's content words, or its initials: many begin with general
    remarks ("The kidneys are two bean-shaped organs").
    """
    wanted = content_stems(focus)
    initials = "".join(word[0] for word in re.findall(r"[A-Za-z]\w*", focus)).upper()
    acronyms = {match[:3] for match in re.findall(r"\b[A-Z][A-Z0-9-]{2,}\b", answer)}
    return 2 * len(wanted & content_stems(answer)) >= len(wanted) or initials[:3] in acronyms


def _is_prose(text: str) -> bool:
    complete = bool(_ENDS.search(text)) and text[0].isupper() and len(text.split()) >= 4
    return (
        complete and len(text) <= _LONGEST_SENTENCE and not _GARBAGE.search(text) and not _LIST.search(text)
    )
