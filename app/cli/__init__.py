"""The command line. Nothing heavy is imported before a command needs it: `footnote --help` is quick."""


def main() -> None:
    """Run the console script `footnote`."""
    from app.cli.program import program

    program(prog_name="footnote")
