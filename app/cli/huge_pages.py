"""Large memory pages for the models, where the system hands them out on request only.

A run of a graph walks over megabytes of weights and states; with pages of 2 MiB the processor finds them
sooner, on virtual machines above all. The C library asks for such pages only when it was started so, and a
process that is running cannot change that: hence the restart, before anything is loaded.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
_ASK_FOR_HUGE_PAGES = "glibc.malloc.hugetlb=1"
_FIRST_GLIBC = (2, 35)
_POLICY = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_huge_pages() -> None:
    """Start this command again in this process, with huge pages, if that is needed and possible."""
    environment = huge_page_environment(os.environ, _policy(), _libc())
    if environment is not None:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606


def huge_page_environment(environ: Mapping[str, str], policy: str, libc: str) -> dict[str, str] | None:
    """The variables to start again with; None when nothing is to be gained, or the operator has decided.

    policy: what the kernel says of transparent huge pages, `always [madvise] never`; libc: `glibc 2.36`.
    """
    if TUNABLES in environ or "[madvise]" not in policy or _version(libc) < _FIRST_GLIBC:
        return None
    return {**environ, TUNABLES: _ASK_FOR_HUGE_PAGES}


def _policy() -> str:
    try:
        return _POLICY.read_text(encoding="ascii")
    except OSError:
        return ""


def _libc() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, ValueError, OSError):  # another C library, or no POSIX
        return ""


def _version(libc: str) -> tuple[int, ...]:
    name, _, version = libc.partition(" ")
    parts = version.split(".")
    return tuple(int(part) for part in parts if part.isdecimal()) if name == "glibc" else ()
