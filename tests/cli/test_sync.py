"""`palimpsest sync` sends the runs of a folder to a server."""

import json
import sqlite3
from pathlib import Path

import pytest

from palimpsest import cli
from palimpsest.tracking.runs import training_run, training_tags
from palimpsest.tracking.server import VARIABLE

TAGS = training_tags("mini", 0, "piggyback", "voc-seg")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)


def test_without_a_server_it_is_named_how_to_set_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync"]) == 2
    expected = f"error: name a server with --uri, {VARIABLE} or tracking.uri in params.yaml\n"
    assert capsys.readouterr().err == expected


def test_without_runs_it_is_the_wrong_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sync", "--uri", "http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err == "error: mlflow.db: is missing; run palimpsest in the folder of the runs\n"


@pytest.mark.slow  # importing MLflow and making two databases takes seconds
def test_runs_are_sent_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with training_run(TAGS, "key", {"seed": 0}) as run:
        run.epochs([{"step": 2.0, "loss": 0.5}])
    monkeypatch.setenv(VARIABLE, f"sqlite:///{tmp_path}/team.db")  # any address that MLflow understands
    for runs, values in ((2, 1), (0, 0)):
        assert cli.main(["sync", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"runs": runs, "values": values, "files": 0}
    assert cli.main(["sync"]) == 0
    assert capsys.readouterr().out == f"sqlite:///{tmp_path}/team.db: 0 runs, 0 values, 0 files sent\n"
    with sqlite3.connect("team.db") as database:
        assert database.execute("select step, value from metrics").fetchall() == [(2, 0.5)]
