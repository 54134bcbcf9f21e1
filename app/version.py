"""Which Footnote this is."""

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the installed package; "0" for a checkout that was not installed."""
    try:
        return version("footnote")
    except PackageNotFoundError:
        return "0"
