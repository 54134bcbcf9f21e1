"""English words that turn a question into another one: antonyms, and words of one family such as nations.

Written for this project; inflected forms are made by rule, irregular ones are listed.
"""

from collections import defaultdict

# Verbs get all four forms, short adjectives all steps, long ones the adverb, nouns the plural.
_VERBS = (
    "increase/decrease accept/reject open/close start/stop begin/stop allow/refuse permit/prohibit "
    "include/exclude support/oppose attack/defend create/destroy build/demolish arrive/leave enter/leave "
    "join/leave love/hate agree/disagree approve/disapprove appear/disappear connect/disconnect "
    "import/export push/pull strengthen/weaken expand/shrink gain/lose improve/worsen help/hinder "
    "encourage/discourage lengthen/shorten raise/lower remember/forget borrow/lend succeed/fail "
    "protect/endanger unite/divide accelerate/slow cause/prevent produce/consume reveal/hide "
    "trust/distrust pass/fail save/spend praise/criticize admit/deny add/remove attract/repel "
    "continue/stop enable/prevent release/capture establish/abolish maintain/abandon obey/disobey"
)
_SHORT_ADJECTIVES = (
    "large/small big/small great/small tall/short long/short high/low deep/shallow fast/slow quick/slow "
    "old/young early/late strong/weak rich/poor wide/narrow thick/thin hot/cold warm/cool hard/soft "
    "bright/dark near/far safe/dangerous clean/dirty cheap/expensive loud/quiet happy/sad wet/dry "
    "full/empty sharp/blunt rough/smooth simple/complex easy/difficult brave/cowardly wise/foolish"
)
_LONG_ADJECTIVES = (
    "important/unimportant common/rare frequent/rare successful/unsuccessful popular/unpopular "
    "positive/negative legal/illegal possible/impossible public/private internal/external "
    "domestic/foreign urban/rural active/passive permanent/temporary natural/artificial primary/secondary "
    "major/minor modern/ancient male/female formal/informal direct/indirect visible/invisible "
    "regular/irregular political/religious military/civilian upper/lower inner/outer official/unofficial "
    "similar/dissimilar equal/unequal dependent/independent necessary/unnecessary liberal/conservative "
    "maximum/minimum human/animal true/false alive/dead guilty/innocent single/married organic/inorganic "
    "liquid/solid acidic/alkaline innate/adaptive vertical/horizontal physical/mental beautiful/ugly "
    "friendly/hostile peaceful/violent traditional/modern wild/tame general/special famous/unknown"
)
_NOUNS = (
    "increase/decrease advantage/disadvantage victory/defeat winner/loser success/failure beginning/end "
    "strength/weakness supporter/opponent friend/enemy ally/enemy buyer/seller teacher/student "
    "parent/child son/daughter father/mother brother/sister king/queen prince/princess husband/wife "
    "boy/girl uncle/aunt host/guest profit/loss supply/demand import/export majority/minority "
    "arrival/departure birth/death attack/defense exit/entrance question/answer employer/employee "
    "predecessor/successor ancestor/descendant leader/follower similarity/difference cause/effect "
    "benefit/drawback gain/loss positive/negative day/night summer/winter god/devil actor/actress "
    "predator/prey"
)
_EXACT = (
    "won/lost win/lose winning/losing rose/fell rise/fall taught/learned bought/sold buy/sell "
    "before/after most/least more/less more/fewer first/last best/worst better/worse above/below "
    "inside/outside always/never all/none everyone/nobody began/ended begin/end born/killed opened/closed "
    "earliest/latest maximum/minimum highest/lowest oldest/newest newer/older oldest/youngest "
    "older/younger grew/shrank grow/shrink approved/rejected founded/dissolved built/demolished "
    "married/divorced created/destroyed invented/rejected during/after since/until east/west north/south "
    "eastern/western northern/southern northeast/southwest northwest/southeast top/bottom front/back "
    "man/woman men/women good/bad ever/never majority/minority largest/smallest longest/shortest many/few "
    "hired/fired biggest/smallest greatest/smallest current/former located/missing same/different "
    "led/followed lead/follow kept/lost keep/lose held/released found/lost find/lose"
)
# Each line is a family: any of its words can stand for another.
_FAMILIES = (
    "asia africa europe australia america antarctica",
    "chinese japanese korean indian persian turkish",
    "english french german spanish italian dutch portuguese polish swedish russian",
    "american british canadian australian mexican brazilian",
    "england france germany spain italy portugal poland sweden russia",
    "china japan korea india vietnam thailand",
    "christian muslim jewish buddhist hindu",
    "catholic protestant orthodox methodist",
    "red blue green yellow white black purple orange",
    "gold silver bronze copper iron",
    "two three four five six seven eight nine ten",
    "first second third fourth fifth sixth seventh eighth ninth tenth",
    "january february march april june july august september october november december",
    "monday tuesday wednesday thursday friday saturday sunday",
    "grandfather grandmother father mother uncle aunt brother sister cousin nephew",
    "brain stomach heart liver kidney lung",
    "oxygen nitrogen hydrogen carbon helium sulfur",
    "king president emperor mayor governor",
    "song book film poem painting",
    "album movie novel opera",
    "river lake mountain island desert",
    "school hospital church museum library prison",
    "singer actor writer painter dancer director",
    "football baseball basketball hockey cricket tennis",
    "dog cat horse cow sheep goat wolf fox",
    "spring summer autumn winter",
    "texas california florida ohio virginia nevada oregon georgia",
    "london paris berlin rome madrid vienna moscow",
    "guitar piano violin trumpet drums",
    "mars venus jupiter saturn mercury",
)


def _verb_forms(verb: str) -> tuple[str, ...]:
    if verb in _IRREGULAR:
        return (verb, *_IRREGULAR[verb].split())
    stem = verb[:-1] if verb.endswith("e") else verb
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb, f"{verb[:-1]}ies", f"{verb[:-1]}ied", f"{verb}ing"
    if verb in _DOUBLED:
        return verb, f"{verb}s", f"{verb}{verb[-1]}ed", f"{verb}{verb[-1]}ing"
    third = f"{verb}es" if verb.endswith(("s", "sh", "ch", "x")) else f"{verb}s"
    return verb, third, f"{stem}ed", f"{stem}ing"


_DOUBLED = frozenset({"stop", "permit", "admit", "repel", "begin"})
_IRREGULAR = {
    "begin": "begins began beginning",
    "build": "builds built building",
    "leave": "leaves left leaving",
    "lose": "loses lost losing",
    "forbid": "forbids forbade forbidding",
    "shrink": "shrinks shrank shrinking",
    "forget": "forgets forgot forgetting",
    "lend": "lends lent lending",
    "hide": "hides hid hiding",
    "spend": "spends spent spending",
    "deny": "denies denied denying",
}


def _adjective_forms(word: str) -> tuple[str, ...]:
    if len(word) > 6 or word in ("cruel", "cowardly"):
        return word, f"more {word}", f"most {word}"
    stem = word[:-1] if word.endswith(("e", "y")) else word
    stem += "i" if word.endswith("y") else ""
    stem += word[-1] if word in ("big", "thin", "hot", "sad", "wet") else ""
    return word, f"{stem}er", f"{stem}est"


def _adverb_forms(word: str) -> tuple[str, ...]:
    if word.endswith("le"):
        return word, f"{word[:-1]}y"
    return word, f"{word}ally" if word.endswith("ic") else f"{word}ly"


def _noun_forms(word: str) -> tuple[str, ...]:
    irregular = {"child": "children", "wife": "wives", "loss": "losses", "man": "men", "prey": "prey"}
    if word in irregular:
        return word, irregular[word]
    if word.endswith("y") and word[-2] not in "aeiou":
        return word, f"{word[:-1]}ies"
    return word, f"{word}es" if word.endswith(("s", "x", "ch", "sh")) else f"{word}s"


def _build() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    makers = (
        (_EXACT, lambda word: (word,)),
        (_SHORT_ADJECTIVES, _adjective_forms),
        (_LONG_ADJECTIVES, _adverb_forms),
        (_VERBS, _verb_forms),
        (_NOUNS, _noun_forms),
    )
    for pairs, forms in makers:
        for left, right in (pair.split("/") for pair in pairs.split()):
            for one, other in zip(forms(left), forms(right), strict=True):
                found[one].append(other)
                found[other].append(one)
    for family in _FAMILIES:
        for word in family.split():
            found[word] += [other for other in family.split() if other != word]
    del found["left"]  # more often a direction, or what remains
    return {word: tuple(dict.fromkeys(others)) for word, others in found.items()}


OPPOSITES = _build()


def opposites(word: str) -> tuple[str, ...]:
    """Words that may stand in a word's place and change what is asked, in the case of the word; none for most
    words.
    """
    found = OPPOSITES.get(word.lower(), ())
    return tuple(other.capitalize() for other in found) if word[:1].isupper() else found
