"""All machines of a cluster have to run the same Footnote: another one might cut other batches."""

from importlib.metadata import PackageNotFoundError, version

from embeddings.errors import Conflict


def version_here() -> str:
    """The installed version; empty where the package is run from its sources alone."""
    try:
        return version("footnote")
    except PackageNotFoundError:
        return ""


def check_version(expected: str) -> None:
    """Raise Conflict where another version is installed than the one that gives the work."""
    if version_here() != expected:
        raise Conflict(
            f"a machine of the Ray cluster has Footnote {version_here()}; the work comes from {expected}",
            found=version_here(),
            expected=expected,
            next_step="install the same version on all machines of the cluster",
        )
