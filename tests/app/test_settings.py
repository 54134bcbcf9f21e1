from pathlib import Path

import pytest

from app.settings import load_settings, setting_names
from embeddings.errors import InvalidInput

GUIDE = Path(__file__).parents[2] / "app" / "guide" / "operate.md"


def test_every_setting_is_documented_with_its_variable() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    missing = [name for name in setting_names() if f"| `FOOTNOTE_{name.upper()}` |" not in guide]
    assert missing == []


def test_the_guide_documents_no_setting_that_does_not_exist() -> None:
    rows = [
        line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("| `FOOTNOTE_")
    ]
    documented = {line.split("`")[1].removeprefix("FOOTNOTE_").lower() for line in rows}
    assert documented == set(setting_names())


def test_defaults_bind_to_loopback_and_keep_the_data_in_the_working_directory(tmp_path: Path) -> None:
    settings = load_settings({}, tmp_path)
    assert settings.host == "127.0.0.1"
    assert settings.home == tmp_path / ".footnote"


def test_variable_wins_over_file_and_file_over_default(tmp_path: Path) -> None:
    (tmp_path / "footnote.toml").write_text("port = 9000\nmax_limit = 50\n")
    settings = load_settings({"FOOTNOTE_PORT": "9001"}, tmp_path)
    assert (settings.port, settings.max_limit, settings.max_batch_documents) == (9001, 50, 1000)


def test_relative_paths_start_where_they_were_written(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "own.toml").write_text('home = "data"\n')
    named = {"FOOTNOTE_CONFIG": "config/own.toml"}
    assert load_settings(named, tmp_path).home == folder / "data"
    assert load_settings({**named, "FOOTNOTE_HOME": "data"}, tmp_path).home == tmp_path / "data"


def test_file_in_the_home_folder_is_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "footnote.toml").write_text("port = 9000\n")
    assert load_settings({"FOOTNOTE_HOME": str(home)}, tmp_path).port == 9000


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("FOOTNOTE_PROT", "FOOTNOTE_PORT"),
        ("FOOTNOTE_CONFG", "FOOTNOTE_CONFIG"),
        ("FOOTNOTE_home", "FOOTNOTE_HOME"),
    ],
)
def test_unknown_variable_fails_with_the_nearest_known_one(
    variable: str, nearest: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings({variable: "1"}, tmp_path)
    assert caught.value.field == variable
    assert caught.value.expected == nearest


def test_unknown_key_in_the_file_fails_with_the_nearest_known_one(tmp_path: Path) -> None:
    (tmp_path / "footnote.toml").write_text("max_limt = 50\n")
    with pytest.raises(InvalidInput) as caught:
        load_settings({}, tmp_path)
    assert caught.value.expected == "max_limit"


def test_variables_of_tests_and_training_are_passed_by(tmp_path: Path) -> None:
    assert load_settings({"FOOTNOTE_DATA": "/data", "HOME": "/root"}, tmp_path).port == 8000


@pytest.mark.parametrize("value", ["", "http", "-1", "65536", "8000.5", "1e3"])
def test_port_that_is_no_port_fails(value: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings({"FOOTNOTE_PORT": value}, tmp_path)
    assert caught.value.field == "FOOTNOTE_PORT"
    assert caught.value.expected == "a whole number from 0 to 65535"


@pytest.mark.parametrize(
    "line", ["port = true", 'port = "many"', "port = 1.5", "host = 5", 'home = ""', "port ="]
)
def test_wrong_type_or_broken_file_fails(line: str, tmp_path: Path) -> None:
    (tmp_path / "footnote.toml").write_text(line + "\n")
    with pytest.raises(InvalidInput):
        load_settings({}, tmp_path)


def test_named_file_that_is_absent_fails(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_settings({"FOOTNOTE_CONFIG": "absent.toml"}, tmp_path)
    assert caught.value.field == "FOOTNOTE_CONFIG"


def test_a_folder_that_need_not_be_set_is_a_folder_when_it_is(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path).reranker is None
    assert (
        load_settings({"FOOTNOTE_RERANKER": "models/rerank"}, tmp_path).reranker == tmp_path / "models/rerank"
    )
