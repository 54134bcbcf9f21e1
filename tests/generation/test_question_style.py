"""Rules that choose between a short span and whole sentences."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from generation.question_style import answer_style

# Real questions of squad/train, nq_gold/train, fairytaleqa/train and medquad, labelled by hand.
WANT_SENTENCES = (
    "How did the revocation restrict Huguenot travel?",
    "How did Mongol armies lure enemy groups out of their defensive positions?",
    "How are the packets routed",
    "How does the IPCC prepare Special Reports?",
    "How can you protest against the government in an individual way?",
    "How did the new king react to the Huguenots?",
    "How was the efficiency of a concept engine typically evaluated?",
    "In dioxygen how are the two oxygen atoms bonded together?",
    "Why do anarchists want to accept punishment?",
    "Besides constant flooding, why else was there regulation of the Rhine?",
    "According to Lenin why must capitalistic countries have an imperialistic policy?",
    "Why aren't some forms of Hæmatococcus pluvialis green?",
    "Why the narrow part of St. John's River called Cowford?",
    "What happens to waste heat in the Rankine cycle?",
    "What happens if angiosperm shoots don't get enough light?",
    "What happened to Tesla's funding once the war begun?",
    "When three forces act on a point particle, what happens?",
    "What causes Pauli repulsion?",
    "What is the benefit of red algae being red?",
    "What was the reason the Italian Constitutional court gave that "
    "resulted in Mr. Costa losing his his claim against ENEL?",
    "What does it mean for a knot to be considered indecomposable?",
    "What is Plasmodium?",
    "What is a stromule?",
    "What is an apicoplast?",
    "What are phycobilisomes?",
    "What is retrograde signaling?",
    "What is the immune system?",
    "What is the mlolongo system?",
    "What is Engineering News-Record?",
    "What is Sanctifying Grace?",
    "how did the dominican republic get its name",
    "how oxygenated blood returns to the heart from the lungs",
    "how and why were serial novels a phenomenon in the nineteenth century",
    "why does prince edward island have red sand",
    "why dry ether is used in woods reaction",
    "what happens when iron reacts with oxygen and water",
    "what causes cracked skin at the corners of your mouth",
    "what is the role of hcl in the stomach",
    "what is the function of trnas in protein synthesis",
    "what's the difference between salisbury steak and hamburger steak",
    "explain the role of glycogenin in glycogen synthesis",
    "explain the function of the peripheral nervous system",
    "Why did the girl use the ring?",
    "How did White Feather win the first race?",
    "How could the maiden get anything she wanted?",
    "What happened when Joringel touched everything with the flower?",
    "What happened after the boy refused to go down the tree?",
    "What are the symptoms of Abetalipoproteinemia ?",
    "What are the treatments for Ledderhose disease ?",
    "What is (are) Neurofibromatosis ?",
    "What is the outlook for Reye's Syndrome ?",
    "What are the genetic changes related to prostate cancer ?",
    "What to do for Hematuria (Blood in the Urine) ?",
    "How to diagnose Protein C deficiency ?",
)
WANT_SPAN = (
    "How many original treaties establishing the EU protected fundamental rights?",
    "How well did Kenya do in the Beijing Olympics?",
    "How popular was Coronation Street in the late 80's?",
    "How quick was the effect of Luther's preaching?",
    "How near to his death was the work published?",
    "How recently has the homes in Fresno been restored?",
    "How is Genghis Khan spelled in Turkic?",
    "How is Temüjin written in pinyin?",
    "How did the final Song emperor die?",
    "A problem set that that is hard for the expression NP can also be stated how?",
    "Within 30 days how many digiboxes had been discarded?",
    "Who decides how land or property is allowed to be used?",
    "What do the Ten Commandments teach Christians how to do?",
    "What are chloroplasts descended from?",
    "What are cnidarians commonly called?",
    "What are peptides processed into?",
    "What is Kenya's HDI?",
    "What is the throat called?",
    "What is the largest ctenophore?",
    "What was the purpose of the Turks in Luther's mind?",
    "What caused the separation of the Methodists in the American colonies?",
    "What is the process of vaccination also known as?",
    "What is the name of the village that once existed in what is now downtown Jacksonville?",
    "In what way did Lavoisier see that the tin he used in his experiment had increased?",
    "What does ATP mean?",
    "When was the European Communities Act created?",
    "Where in China is Genghis Khan most favorably viewed today?",
    "What session did the IPCC panel attend before the opening ceremonies?",
    "how do you say zest for life in french",
    "how tall is the tallest building in las vegas",
    "how many seasons of johnny bravo are there",
    "who wrote how do you do it by gerry and the pacemakers",
    "where did the phrase how now brown cow come from",
    "when was how deep is your love released",
    "what breed of cat has spots and stripes",
    "what is the purpose of the bromophenol blue dye in the samples",
    "what is the setting of a dolls house",
    "the first element on the periodic table is",
    "what's the name of the last mission impossible movie",
    "bible verse taking the lord's name in vain",
    "How did the youth feel when he saw the beautiful castle?",
    "How will the witch feel about what would happen to the fairy folk?",
    "Who did Iagoo picture as the corn-taker?",
    "What was Manawyddan known as?",
    "What was special about Yamato?",
    "Is craniofacial-deafness-hand syndrome inherited ?",
    "How many people are affected by hereditary hyperekplexia ?",
)


@pytest.mark.parametrize("question", WANT_SENTENCES)
def test_a_question_for_an_explanation_is_answered_in_sentences(question: str) -> None:
    assert answer_style(question) == "sentences"


@pytest.mark.parametrize("question", WANT_SPAN)
def test_a_question_for_a_fact_is_answered_by_a_span(question: str) -> None:
    assert answer_style(question) == "span"


@pytest.mark.parametrize(
    "question",
    [
        "Почему небо голубое?",
        "¿Por qué el cielo es azul?",
        "为什么天空是蓝色的？",
        "",
        "   ",
        "?",
        "what",
        "how",
    ],
)
def test_other_languages_and_fragments_are_answered_by_a_span(question: str) -> None:
    assert answer_style(question) == "span"


@pytest.mark.parametrize(
    "question",
    [
        "WHY IS THE SKY BLUE?",
        "  why   is the sky\nblue ",
        "Please describe the water cycle.",
        "Could you explain how vaccines work?",
        "What’s the difference between a lease and a licence?",
        "Tell me about the audit log",
    ],
)
def test_case_space_and_politeness_do_not_matter(question: str) -> None:
    assert answer_style(question) == "sentences"


def test_a_very_long_question_takes_no_time() -> None:
    assert answer_style("what is " + "the " * 20_000 + "?") == "span"
    assert answer_style("how " + "did it " * 20_000) == "sentences"


def _questions(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from (json.loads(line)["question"] for line in lines)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("squad/train", 0.03, 0.09), ("nq_gold/train", 0.01, 0.04), ("fairytaleqa/train", 0.35, 0.50)],
)
def test_few_factoid_questions_and_many_of_stories_want_sentences(
    data_dir: Path, name: str, least: float, most: float
) -> None:
    questions = list(_questions(data_dir / f"{name}.jsonl.gz"))

    share = sum(answer_style(question) == "sentences" for question in questions) / len(questions)

    assert least <= share <= most
