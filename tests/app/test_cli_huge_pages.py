import pytest

from app.cli.huge_pages import TUNABLES, huge_page_environment

ON_REQUEST = "always [madvise] never\n"
NEW = "glibc 2.36"


def test_pages_on_request_are_asked_for_and_other_variables_stay() -> None:
    found = huge_page_environment({"HOME": "/root"}, ON_REQUEST, NEW)
    assert found == {"HOME": "/root", TUNABLES: "glibc.malloc.hugetlb=1"}


def test_second_start_does_not_start_again() -> None:
    started = huge_page_environment({}, ON_REQUEST, NEW)
    assert started is not None
    assert huge_page_environment(started, ON_REQUEST, NEW) is None


def test_what_the_operator_has_set_is_kept() -> None:
    assert huge_page_environment({TUNABLES: "glibc.malloc.arena_max=2"}, ON_REQUEST, NEW) is None


@pytest.mark.parametrize("policy", ["[always] madvise never", "always madvise [never]", ""])
def test_kernel_that_gives_them_anyway_or_never_needs_no_restart(policy: str) -> None:
    assert huge_page_environment({}, policy, NEW) is None


@pytest.mark.parametrize("libc", ["glibc 2.34", "glibc 2.9", "musl 1.2.5", ""])
def test_c_library_that_cannot_ask_is_left_alone(libc: str) -> None:
    assert huge_page_environment({}, ON_REQUEST, libc) is None
