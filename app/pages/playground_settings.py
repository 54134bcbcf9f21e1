"""The sampling settings as the playground offers them: their names, what they do, what they may be."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import asdict

from generation.causal.spec import GenerationDefaults


def _(message: str) -> str:
    """Marks a text for translation; the template translates it."""
    return message


@dataclass(frozen=True, slots=True)
class Setting:
    """One control. name: in the request; field: of `SamplingSettings`, where its name differs.

    note: what it does, in a sentence. low, high, step: of a number; step "any" for fractions.
    """

    name: str
    label: str
    note: str
    default: str
    kind: Literal["number", "text", "lines", "switch"] = "number"
    low: str = ""
    high: str = ""
    step: str = "1"
    field: str = ""

    @property
    def honoured_as(self) -> str:
        """The name by which a decoder says that it cannot."""
        return self.field or self.name


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """Controls that belong together."""

    title: str
    settings: tuple[Setting, ...]


_GROUPS = (
    SettingGroup(
        _("Chance"),
        (
            Setting(
                "temperature",
                _("Temperature"),
                _("0 always takes the likeliest token. 1 draws by the decoder's own probabilities; below it the likely ones gain, above it the unlikely ones."),  # noqa: E501
                "0", low="0", high="2", step="0.05",
            ),
            Setting(
                "seed",
                _("Seed"),
                _("The same seed draws the same text again. Empty: another one each time."),
                "", low="0",
            ),
            Setting(
                "top_k",
                _("Top k"),
                _("Draw among this many likeliest tokens only. 0 is off."),
                "0", low="0",
            ),
            Setting(
                "top_p",
                _("Top p"),
                _("Draw among the fewest tokens that together have this probability. 1 is off."),
                "1", low="0.01", high="1", step="0.01",
            ),
            Setting(
                "min_p",
                _("Min p"),
                _("Leave out tokens with less than this share of the likeliest one's probability. 0 is off."),
                "0", low="0", high="1", step="0.01",
            ),
            Setting(
                "typical_p",
                _("Typical p"),
                _("Draw among tokens that are about as surprising as is usual here, up to this probability. 1 is off."),  # noqa: E501
                "1", low="0.01", high="1", step="0.01",
            ),
        ),
    ),
    SettingGroup(
        _("Repetition"),
        (
            Setting(
                "repetition_penalty",
                _("Repetition penalty"),
                _("Above 1 makes every token of prompt and answer rarer. 1 is off."),
                "1", low="0.1", high="10", step="0.05",
            ),
            Setting(
                "presence_penalty",
                _("Presence penalty"),
                _("Taken from the score of each token that the answer has already used. 0 is off."),
                "0", low="-2", high="2", step="0.1",
            ),
            Setting(
                "frequency_penalty",
                _("Frequency penalty"),
                _("The same, as often as it was used. 0 is off."),
                "0", low="-2", high="2", step="0.1",
            ),
            Setting(
                "no_repeat_ngram_size",
                _("No repeated run"),
                _("No run of so many tokens comes twice. 0 is off."),
                "0", low="0", field="no_repeat_ngram",
            ),
            Setting(
                "logit_bias",
                _("Token bias"),
                _("Token numbers and what is added to their scores, -100 to 100, such as 1012: -100, 88: 2."),
                "", kind="text",
            ),
        ),
    ),
    SettingGroup(
        _("Length and number"),
        (
            Setting(
                "max_tokens", _("Longest answer"), _("In the decoder's tokens."), "128", low="1", high="4096"
            ),
            Setting(
                "stop",
                _("Stop at"),
                _("Texts that end the answer and are not part of it, one a line."),
                "", kind="lines",
            ),
            Setting(
                "ignore_eos", _("Go on after the end"), _("Up to the longest answer."), "", kind="switch"
            ),
            Setting("n", _("Answers"), _("How many are drawn side by side."), "1", low="1", high="8"),
            Setting(
                "best_of",
                _("Beams"),
                _("Above 1: beam search for the likeliest whole answers, without chance. It tells no probabilities of tokens."),  # noqa: E501
                "1", low="1", high="8", field="beams",
            ),
            Setting(
                "length_penalty",
                _("Length penalty of beams"),
                _("Exponent of the length that divides a beam's score; above 0 favours long ones."),
                "1", low="-10", high="10", step="0.1",
            ),
        ),
    ),
    SettingGroup(
        _("What is shown"),
        (
            Setting(
                "logprobs",
                _("Alternatives"),
                _("How many likely tokens are told for each place."),
                "5", low="1", high="20", field="alternatives",
            ),
        ),
    ),
)  # fmt: skip


def setting_groups(unhonoured: Collection[str], defaults: GenerationDefaults) -> tuple[SettingGroup, ...]:
    """The controls of what this decoder honours, with its authors' values as defaults."""
    published = {name: f"{value:g}" for name, value in asdict(defaults).items()}
    groups = (
        SettingGroup(group.title, tuple(_offered(group.settings, unhonoured, published))) for group in _GROUPS
    )
    return tuple(group for group in groups if group.settings)


def _offered(
    settings: tuple[Setting, ...], unhonoured: Collection[str], published: Mapping[str, str]
) -> list[Setting]:
    offered = []
    for each in settings:
        # The page shows alternatives of every decoder, in its own way.
        if each.honoured_as in unhonoured or (each.name == "length_penalty" and "beams" in unhonoured):
            continue
        default = published.get(each.name, each.default)
        offered.append(
            Setting(
                each.name,
                each.label,
                each.note,
                default,
                each.kind,
                each.low,
                each.high,
                each.step,
                each.field,
            )
        )
    return offered
