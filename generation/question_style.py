"""Which kind of answer an English question asks for: a short span or whole sentences.

The rules were set by the length of the answers in squad/train and nq_gold/train (median, in words): why 6,
"what happens" 5, "what is (are) X?" with nothing but a name 6, "what is the reason" 9 ask for sentences;
"what caused" 4 (mostly an event), "what is the purpose" 4, "in what way" 2, "how popular" 2 and "what is the
X of Y" 2 are served better by a span. "How" has short answers there too (3), because the annotators were
asked for spans; people who ask how something is done want more than three words.
"""

import re

from generation.prompt import AnswerStyle

_DEGREES = (
    "many much long old far large big small tall high low deep wide thick thin heavy strong fast quick "
    "quickly slowly soon late early often frequent frequently recently common commonly popular popularly "
    "successful effective accurate accurately likely well poorly close near great good bad hot cold warm "
    "cool rich poor concentrated similar sure important expensive costly severe serious independently "
    "widely closely man"
)
# "How did she feel?" and "how is it called?" are answered by a word.
_SHORT_HOW = re.compile(
    rf"how (?:(?:very|so) )?(?:{'|'.join(_DEGREES.split())})\b"
    r"|how (?:do|does|did|will|would|might) .*\bfe(?:el|lt)\b"
    r"|how (?:do|does|can|would|to) (?:you |i |we |one )?(?:say|spell|pronounce)\b"
    r"|how\W*$"
    r"|how .*\b(?:written|called|known as|known to|spelled|pronounced|referred to|abbreviated)\b"
    r"|how (?:do|does|did|will|would) .*\b(?:die|look|taste|smell)\W*$"
)
_ASKED = re.compile(r"\b(?:who|whom|whose|what|what's|which|when|where|why|how)\b")
_CONDITION = re.compile(
    r"(?:when|where|if)\b[^?]*, (?=(?:what|how|why)\b)"
)  # "When water boils, what happens?"
_REQUEST = re.compile(
    r"(?:please |(?:can|could|would) you (?:please )?)?"
    r"(?:describe|explain|outline|summari[sz]e|discuss|compare|elaborate|tell (?:me|us) (?:more )?about"
    r"|give (?:me )?(?:an? )?(?:overview|summary|description|explanation))\b"
)
_LONG_WHAT = re.compile(
    r"what (?:usually |typically |often |can |may |might )?causes?\b(?! of)"
    r"|what (?:usually |typically )?(?:happens?|happened|(?:will|would|might|can|does|did) .*happen)\b"
    r"|what (?:to|can i|can we|should (?:i|we|you|one)) do\b"
    r"|what (?:is|are|was|were) (?:the |some |some of the |its |their )?"
    r"(?:\(?(?:main|common|major|key|early|possible|typical|most common|usual|general|primary)\)? )?"
    r"(?:(?:signs (?:and|or|&) )?symptoms?|treatments?|steps|stages|complications|consequences|causes"
    r"|reasons?|(?:dis)?advantages?|benefits?|drawbacks?|differences?|similarities|implications|role|functions?"
    r"|outlook|prognosis|genetic changes)\b(?! function\b)"
    r"|what(?: is|'s|s) the difference\b"
    r"|what (?:do|does) (?:it )?.*\bmean\b(?= (?:to|if|when|by|for|that)\b)"
    r"|what (?:do you know|is known) about\b"
    r"|what research\b"
)
_DEFINITION = re.compile(
    r"what(?:'s|s| is| are| is \(are\)) (?:(?:an?|the) )?(?P<term>\"[^\"]+\"|'[^']+'|[^\W\d_][\w\-.()]*"
    r"(?: [\w\-.()]+){0,3})\W*$"
)
# "What is the throat called", "what is it made of", "what is Tesla's birthplace", "what is the largest lake",
# "what is a group of lions" ask for a name, not for a definition.
_NO_DEFINITION = re.compile(
    r"\b(?:of|in|for|to|on|at|from|by|with|about|like|as|called|known|named|doing|going|used|needed|made|name|it"
    r"|he|she|they|this|that|these|those|first|last|next|best|only|one|two|three|another|other|example|examples"
    r"|into|some|any|mounted|necessary|number|date|year|size|height|population|capital|length|width|weight|color|colour)\b"
    r"|\w{3,}est\b(?<!forest)(?<!interest)(?<!harvest)(?<!protest)(?<!request)|\b(?:most|least)\b|'s\b"
)


def answer_style(question: str) -> AnswerStyle:
    """The style to answer an English question in: "sentences" for how, why, describe, what happens, what
    are the symptoms, what is X; "span" for the rest and for every other language.
    """
    text = " ".join(question.lower().replace("’", "'").split())
    if _REQUEST.match(text):
        return "sentences"
    text = _CONDITION.sub("", text, count=1) if _CONDITION.match(text) else text
    asked = _ASKED.search(text)
    return "sentences" if asked and _wants_sentences(text[asked.start() :]) else "span"


def _wants_sentences(clause: str) -> bool:
    """Whether a clause that begins with its question word is answered in sentences."""
    if clause.startswith("how"):
        return not _SHORT_HOW.match(clause)
    if clause.startswith("why"):
        return True
    return bool(_LONG_WHAT.match(clause)) or _asks_definition(clause)


def _asks_definition(clause: str) -> bool:
    found = _DEFINITION.match(clause)
    return found is not None and not _NO_DEFINITION.search(found["term"])
