"""`footnote eval`: measure retrieval and answers."""

import typer

commands = typer.Typer(no_args_is_help=True, help="Measure retrieval and answers on data with known results.")
