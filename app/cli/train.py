"""`footnote train`: training in a process of its own, so that this one never loads torch."""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from embeddings.errors import FootnoteError

commands = typer.Typer(no_args_is_help=True, help="Make models, in a process of its own.")

# The training program reads its own options, --help too.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@commands.command("decoder", context_settings=_PASS_ON)
def train_decoder(context: typer.Context) -> None:
    """Train the bundled decoder; started again, it goes on at its last checkpoint."""
    raise typer.Exit(run_training("training.decoder_train", decoder_arguments(context.args)))


@commands.command("distil", context_settings=_PASS_ON)
def train_distil(context: typer.Context) -> None:
    """Make a smaller encoder that gives nearly the vectors of a larger one."""
    raise typer.Exit(run_training("training.siamese.distillation", context.args))


@commands.command("classifier", context_settings=_PASS_ON)
def train_classifier(context: typer.Context) -> None:
    """Train a classifier from texts with labels; a few of each label are enough."""
    raise typer.Exit(run_training("training.siamese.classification", classifier_arguments(context.args)))


def classifier_arguments(given: Sequence[str]) -> list[str]:
    """The options as given, and the folder of models under FOOTNOTE_HOME when none was named."""
    if any(option.partition("=")[0] in ("--models", "--help", "-h") for option in given):
        return list(given)
    from app.settings import load_settings

    return [*given, "--models", str(load_settings().home / "models")]


def decoder_arguments(given: Sequence[str]) -> list[str]:
    """The options as given, and a folder for checkpoints under FOOTNOTE_HOME when none was named."""
    if any(option.partition("=")[0] in ("--checkpoints", "--help", "-h") for option in given):
        return list(given)
    return [*given, "--checkpoints", str(_checkpoints_folder())]


def run_training(module: str, arguments: Sequence[str]) -> int:
    """Run a training program to its end. Returns its exit code; 128 + n when signal n ended it."""
    _require_training_packages()
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command) as process:  # noqa: S603 - our own module
        try:
            code = process.wait()
        except KeyboardInterrupt:  # the terminal has sent Ctrl-C to the child too: let it save its checkpoint
            code = process.wait()
    return code if code >= 0 else 128 - code


def _checkpoints_folder() -> Path:
    from app.settings import load_settings

    return load_settings().home / "training" / "decoder"


def _require_training_packages() -> None:
    if importlib.util.find_spec("torch") is None:
        raise FootnoteError(
            "training needs packages that are not installed",
            found="no torch",
            expected="the development environment",
            next_step="make setup-dev",
        )
