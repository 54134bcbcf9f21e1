import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from typer.testing import CliRunner

from app.cli.program import program

COMMAND = [sys.executable, "-c", "from app.cli import main; main()"]
LINES = 4_500  # several windows


def write_source(folder: Path, lines: int) -> Path:
    source = folder / "texts.jsonl"
    rows = [json.dumps({"id": number, "text": f"station {number}"}) for number in range(lines)]
    source.write_text("\n".join(rows), encoding="utf-8")
    return source


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if path.exists() or process.poll() is not None:
            return
        time.sleep(0.05)


def test_killed_command_goes_on_and_gives_what_an_uninterrupted_one_gives(tmp_path: Path) -> None:
    source, out, whole = write_source(tmp_path, LINES), tmp_path / "out.parquet", tmp_path / "whole.parquet"
    process = subprocess.Popen([*COMMAND, "embed", str(source), "--out", str(out)])
    wait_for(tmp_path / "out.parquet.partial" / "part-000000.parquet", process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    again = CliRunner().invoke(program, ["embed", str(source), "--out", str(out), "--json"])
    report = json.loads(again.stdout)
    assert report["resumed"] >= 1_024  # the window whose part was there
    assert report["resumed"] + report["texts"] == LINES
    assert CliRunner().invoke(program, ["embed", str(source), "--out", str(whole)]).exit_code == 0
    found, expected = pq.read_table(out), pq.read_table(whole)
    assert found.drop_columns("embedding").equals(expected.drop_columns("embedding"))
    vectors = [np.stack(table["embedding"].to_numpy()) for table in (found, expected)]
    assert np.einsum("nd,nd->n", *vectors).min() > 0.97  # the bundled graph's rows depend on their batch


def test_over_long_text_is_told_with_its_line_and_the_way_out(tmp_path: Path) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text(json.dumps({"text": "word " * 400}), encoding="utf-8")
    result = CliRunner().invoke(program, ["embed", str(source), "--out", str(tmp_path / "out.parquet")])
    assert result.exit_code == 2
    assert "line 1: 402 tokens; the model sees at most 256" in result.stderr
    assert "--truncate end" in result.stderr
