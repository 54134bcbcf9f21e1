"""What the README.md of a retrained encoder says of its training: data, objective, curve, what came of it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.encoder_card import CARD
from training.siamese.folder import LOSSES
from training.siamese.progress import read_losses

HEADING = "## How it was trained"
CURVE_ROWS = 12

Found = Mapping[str, Any]


def write_card(artifact: Path, report: Found, run: Path) -> None:
    """Put the section on training at the end of the artifact's card, in place of an earlier one.

    report: of the run, with or without its judgement; run: the folder in which its loss curves lie.
    """
    path = artifact / CARD
    text = path.read_text(encoding="utf-8").partition(f"\n{HEADING}\n")[0].rstrip() if path.is_file() else ""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f"{text}\n\n{training_section(report, run)}".lstrip(), encoding="utf-8")
    temporary.replace(path)


def training_section(report: Found, run: Path) -> str:
    """The section in Markdown. Of what the report lacks, nothing is said."""
    blocks = (
        HEADING,
        *_data(report.get("data") or {}),
        *_objective(report),
        *_settings(report.get("plan") or {}),
        *_curves(run),
        *_judgement(report),
        _LIMITS,
    )
    return "\n\n".join(blocks) + "\n"


def _data(data: Found) -> Iterator[str]:
    yield "### Data"
    sets = [(name, data[name]) for name in ("read", "train", "validation", "held_out") if data.get(name)]
    if sets:
        yield _table(
            ("examples", "uploaded", "feedback", "synthetic", "passages searched"),
            ((name.replace("_", " "), *(counts.get(each, 0) for each in _COLUMNS)) for name, counts in sets),
        )
    if written := data.get("written"):
        yield "Written queries: " + "; ".join(_flat(written)) + "."
    removed = list(_removed(data))
    yield _table(("taken out", "examples", "such as"), removed) if removed else "Nothing had to be taken out."


_COLUMNS = ("uploaded", "feedback", "synthetic", "passages")


def _removed(data: Found) -> Iterator[tuple[str, int, str]]:
    cleaning = data.get("cleaning") or {}
    for origin, report in cleaning.items():
        for each in (report or {}).get("removed", ()):
            yield f"{each['reason']} ({origin})", each["count"], _quoted(each.get("examples") or ())
    leaks = data.get("leaks") or {}
    if leaks.get("count"):
        yield leaks["reason"], leaks["count"], _quoted(leaks.get("examples") or ())


def _quoted(examples: Sequence[object]) -> str:
    """The first example in a cell of a table."""
    return re.sub(r"[|\s]+", " ", str(examples[0]))[:80] if examples else ""


def _objective(report: Found) -> Iterator[str]:
    if chosen := report.get("objective"):
        yield f"### Objective\n\n{chosen['name']}: {chosen['why']}."
    training = report.get("training") or {}
    if before := training.get("pretraining"):
        yield "Pre-training on the passages: " + "; ".join(_flat(before)) + "."
    rounds = training.get("rounds") or ()
    if rounds:
        named = (
            "examples",
            "steps",
            "epochs",
            "tokens",
            "seconds",
            "first_loss",
            "last_loss",
            "best_step",
            "ended",
        )
        yield _table(
            ("round", *(name.replace("_", " ") for name in named)),
            ((number, *(_plain(each.get(name)) for name in named)) for number, each in enumerate(rounds, 1)),
        )


def _settings(plan: Found) -> Iterator[str]:
    if plan:
        yield "### Settings"
        yield _table(("setting", "value"), ((f"`{name}`", _plain(value)) for name, value in _leaves(plan)))


def _leaves(plan: Found, above: str = "") -> Iterator[tuple[str, object]]:
    for name, value in plan.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _curves(run: Path) -> Iterator[str]:
    folders = sorted({path.parent for path in run.glob(f"**/{LOSSES}")})
    curves = [(folder, list(read_losses(folder))) for folder in folders]
    if any(rows for _, rows in curves):
        yield "### Curve\n\nMeans of the loss since the row above."
    for folder, rows in curves:
        if rows:
            name = "training" if folder == run else folder.name
            yield f"{name}:\n\n{_table(('step', 'loss', 'validation'), _thinned(rows))}"


def _thinned(rows: Sequence[Found]) -> Iterator[tuple[object, str, str]]:
    """About CURVE_ROWS rows: the mean loss of each stretch, and the last validation metric in it."""
    step = max(1, -(-len(rows) // CURVE_ROWS))
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        losses = [row["loss"] for row in part if row.get("loss") is not None]
        metrics = [
            row[name] for row in part for name in ("metric", "validation") if row.get(name) is not None
        ]
        mean = f"{sum(losses) / len(losses):.4f}" if losses else ""
        yield part[-1]["step"], mean, f"{metrics[-1]:.4f}" if metrics else ""


def _judgement(report: Found) -> Iterator[str]:
    if "promote" not in report:
        return
    outcome = "It passed the gate" if report["promote"] else "It did not pass the gate"
    yield "### Before and after"
    yield f"{outcome}: {'; '.join(report['reasons'])}."
    sets = {"held-out": report["domain"], **report["general"]}
    yield _table(
        ("set", "metric", "before", "after", "gain", "95 % interval", "wins / losses / ties"),
        (row for name, judged in sets.items() for row in _compared(name, judged)),
    )


def _compared(name: str, judged: Found) -> Iterator[tuple[object, ...]]:
    counted = [judged.get(each) for each in ("wins", "losses", "ties")]
    tally = " / ".join(map(str, counted)) if None not in counted else ""
    for metric, change in judged["metrics"].items():
        gain = change["gain"]
        yield (
            f"{name} ({judged['examples']:,})",
            metric,
            f"{100 * change['old']:.2f}",
            f"{100 * change['new']:.2f}",
            f"{100 * gain['value']:+.2f}",
            f"{100 * gain['low']:+.2f} to {100 * gain['high']:+.2f}",
            tally,
        )
        tally = ""


def _flat(values: Found) -> Iterator[str]:
    for name, value in _leaves(values):
        if not isinstance(value, list | tuple):
            yield f"{name.replace('_', ' ')} {_plain(value)}"


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in lines)


_LIMITS = """### Limits of this training

- The held-out examples are of the same kind as those it learned from: other questions may gain less, or lose.
- What is not among the general sets may have been forgotten.
- The base model's limits, in languages and in length, are its own too."""
