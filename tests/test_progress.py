import json
import threading
import time
from pathlib import Path

import pytest

from palimpsest import progress
from palimpsest.progress import START, Progress, Work, minutes, work_of

TRAINING = {"method": "piggyback", "tasks": [{"name": "voc-seg", "steps": 100, "batch_size": 8}]}


def test_the_work_of_a_training_is_its_pictures_and_its_start() -> None:
    work = work_of("train_in_turn", json.dumps(TRAINING), Path("train.log"))
    assert work == Work("piggyback voc-seg", START + 800, Path("train.log"))
    joint = {**TRAINING, "tasks": [{**TRAINING["tasks"][0], "name": name} for name in "ab"]}
    assert work_of("train_together", json.dumps(joint), None) == Work("piggyback a+b", START + 1600)


def test_a_measurement_has_a_cell_per_pair_of_tasks() -> None:
    short, long = (
        work_of("evaluate", json.dumps({"method": "ewc", "sequence": sequence}), None)
        for sequence in ("ab", "abcd")
    )
    assert short.pictures < long.pictures and short.name == "measure ewc"
    assert work_of("report", "no JSON", None) == Work("report", START)


def test_the_line_counts_finished_jobs_and_the_steps_of_running_ones(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("12:00 step 50/200  loss 1.0\n12:01 step 100/200  loss 0.5\n12:01 other line\n")
    jobs = [Work("raw", 100.0), Work("base seg", 200.0, log), Work("ewc seg", 100.0, tmp_path / "missing.log")]
    line = Progress(jobs, lambda: [True, False, False], time.time() - 120).line(time.time())
    assert line == "progress: 50% done in 2 min, about 2 min left (1 of 3 jobs; training base seg)"


def test_a_log_of_an_earlier_run_does_not_count(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("step 100/200  loss 0.5\n")
    started = time.time() + 10
    line = Progress([Work("base seg", 200.0, log)], lambda: [False], started).line(started + 30)
    assert line == "progress: 0% done in 30 s, time left unknown yet (0 of 1 jobs)"


def test_lines_appear_until_the_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.01)
    ended = threading.Event()
    watcher = threading.Thread(target=Progress([Work("a", 1.0)], lambda: [True], time.time()).show, args=[ended])
    watcher.start()
    time.sleep(0.2)
    ended.set()
    watcher.join(5)
    assert not watcher.is_alive()
    assert "progress: 100% done" in capsys.readouterr().err


def test_durations() -> None:
    assert [minutes(seconds) for seconds in (12, 119, 3600, 9000)] == ["12 s", "2 min", "60 min", "2.5 h"]
