"""The texts of golden vectors, and how a conversion makes them."""

from pathlib import Path

from embeddings.encoder import Encoder
from embeddings.golden import GoldenVectors

# Short, so that the check at start takes milliseconds; of many scripts and lengths, so that many weights take
# part.
GOLDEN_TEXTS = (
    "Where is the nearest railway station?",
    "The patient was given 20 mg of the drug twice a day for two weeks.",
    "def add(a, b): return a + b",
    "Copper conducts electricity better than iron and does not rust.",
    "Wie lange dauert die Fahrt von München nach Wien?",
    "La réunion est reportée à jeudi prochain.",
    "El río crece después de las lluvias de abril.",
    "Пчёлы собирают нектар и превращают его в мёд.",
    "Договор вступает в силу с момента подписания.",
    "在海平面，水在一百摄氏度沸腾。",
    "会议每年召开两次。",
    "東京の冬は寒いですか。",
    "서울에서 부산까지 얼마나 걸립니까?",
    "متى تفتح المكتبة أبوابها؟",
    "सूरज पूरब में उगता है।",
    "Η θάλασσα είναι ήρεμη το πρωί.",
)


def write_golden(directory: Path, own: Encoder, fp32: Encoder) -> None:
    """Write golden.json into the directory of the encoder `own`.

    To be made on a processor whose 8-bit arithmetic is right: the parity gate has to have been passed.
    """
    vectors = (encoder.encode(GOLDEN_TEXTS, "") for encoder in (own, fp32))
    GoldenVectors.of(GOLDEN_TEXTS, *vectors).write(directory)
