import argparse
import errno
import json
import logging
import os
import platform
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from palimpsest import machine, stage
from palimpsest.errors import DataError
from palimpsest.layout import Layout
from palimpsest.processes.parent import PARENT
from palimpsest.settings import Settings
from tests.conftest import job_in_this_process, room_for


@pytest.fixture(autouse=True)
def in_a_folder_with_settings(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Run every test in a folder with a params.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with job_in_this_process():
        yield


class Stage:
    """Stage that records its arguments and may fail."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.calls: list[tuple[Settings, Layout, argparse.Namespace]] = []

    def __call__(self, settings: Settings, layout: Layout, options: argparse.Namespace) -> None:
        self.calls.append((settings, layout, options))
        logging.getLogger("palimpsest.stage").info("at work")
        if self.error is not None:
            raise self.error


def run(main: stage.Main, *command: str, names: tuple[str, ...] = ("seed", "task")) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pipeline.stage", *command])
        stage.run(main, "Does something.", *names)


NAMED = ("--seed", "3", "--task", "halves")


def test_a_stage_gets_the_settings_the_layout_and_its_names() -> None:
    main = Stage()
    run(main, *NAMED)
    ((settings, layout, options),) = main.calls
    assert settings.preset == "tiny" and layout == Layout("tiny")
    assert (options.seed, options.task) == (3, "halves")


def test_settings_on_the_command_line_override_the_file() -> None:
    main = Stage()
    run(main, *NAMED, "--config", '{"training": {"steps": "40"}}')
    assert main.calls[0][0].training.steps == 40 and main.calls[0][0].training.batch_size == 4


def test_a_job_has_the_settings_at_the_start_of_its_pipeline(
    content: dict[str, Any],
) -> None:
    stage.pass_settings(content, {"training": {"steps": 40}})
    Path("params.yaml").write_text("preset: gone", encoding="utf-8")
    main = Stage()
    run(main, *NAMED, "--config", '{"training": {"batch_size": 2}}')
    training = main.calls[0][0].training
    assert (training.steps, training.batch_size, training.steps_per_epoch) == (40, 2, 2)


def test_jobs_run_in_the_environment_of_their_pipeline(content: dict[str, Any]) -> None:
    stage.pass_settings(content, {})
    assert os.environ["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert json.loads(os.environ[stage.SNAPSHOT]) == {"content": content, "overrides": {}}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator's settings are those of glibc")
def test_jobs_reuse_freed_memory(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.KEEP_MEMORY:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    command = (
        "import resource, numpy\n"
        "for turn in range(20):\n"
        "    if turn == 2: before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    numpy.ones(8_000_000)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )

    def faults() -> int:
        return int(subprocess.run([sys.executable, "-c", command], capture_output=True, check=True).stdout)

    usual = faults()
    stage.pass_settings(content, {})
    assert faults() < usual / 5


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("--seed", "3"),
        ("--seed", "three", "--task", "a"),
        (*NAMED, "--config", "{"),
        (*NAMED, "--config", "[3]"),
        (*NAMED, "--x"),
    ],
)
def test_wrong_usage_ends_with_status_2_before_any_work(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    main = Stage()
    with pytest.raises(SystemExit) as ended:
        run(main, *command)
    assert ended.value.code == 2 and main.calls == []
    assert "usage:" in capsys.readouterr().err


def test_a_user_error_is_one_line_status_1_and_a_traceback_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(Stage(DataError("a.jpg: cannot be read")), *NAMED, "--log", "logs/stage.log")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: a.jpg: cannot be read\n"
    log = Path("logs/stage.log").read_text("utf-8")
    assert "at work" in log and "Traceback" in log and "DataError: a.jpg: cannot be read" in log


def test_without_a_log_file_too_the_error_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(Stage(DataError("a.jpg: cannot be read")), *NAMED)
    assert capsys.readouterr().err.count("a.jpg: cannot be read") == 1


def test_a_wrong_setting_ends_the_job_before_the_stage_begins(capsys: pytest.CaptureFixture[str]) -> None:
    main = Stage()
    with pytest.raises(SystemExit) as ended:
        run(main, *NAMED, "--config", '{"training": {"stepz": 1}}', "--log", "stage.log")
    assert ended.value.code == 1 and main.calls == []
    assert capsys.readouterr().err == "error: training.stepz: unknown setting; did you mean 'steps'?\n"


def test_a_missing_file_of_settings_gives_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("params.yaml").unlink()
    with pytest.raises(SystemExit) as ended:
        run(Stage(), *NAMED, "--log", "stage.log")
    assert ended.value.code == 1 and capsys.readouterr().err.startswith("error: params.yaml: cannot be read")


def test_an_interruption_is_one_line_on_how_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(Stage(KeyboardInterrupt()), *NAMED, "--log", "stage.log")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: interrupted; the next run resumes from the last checkpoint\n"


@pytest.mark.usefixtures("interrupted")
def test_an_error_due_to_an_interruption_is_reported_as_interruption(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(Stage(ValueError("could not determine the shape")), *NAMED, "--log", "stage.log")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: interrupted; the next run resumes from the last checkpoint\n"


def test_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        run(Stage(ZeroDivisionError("ours")), *NAMED, "--log", "stage.log")
    assert "ZeroDivisionError: ours" in Path("stage.log").read_text("utf-8")


def test_a_retry_appends_to_the_log() -> None:
    for _ in range(2):
        run(Stage(), *NAMED, "--log", "stage.log")
        logging.getLogger("palimpsest").handlers.clear()
    assert Path("stage.log").read_text("utf-8").count("at work") == 2


def test_only_the_first_process_of_a_distributed_training_has_lock_and_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(stage, "hold_log", lambda log: pytest.fail("waits for the first, which waits for it"))
    run(Stage(), *NAMED, "--log", "stage.log")
    assert capsys.readouterr().err == "" and not Path("stage.log").exists()
    with pytest.raises(SystemExit):
        run(Stage(DataError("a.jpg: cannot be read")), *NAMED, "--log", "stage.log")
    assert "a.jpg: cannot be read" in capsys.readouterr().err and not Path("stage.log").exists()


def test_a_job_is_the_parent_of_its_processes() -> None:
    parents: list[str] = []
    run(lambda *arguments: parents.append(os.environ[PARENT]), *NAMED)
    assert parents[0].split()[1] == str(os.getpid())


def test_a_log_that_cannot_be_written_ends_the_job_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    main = Stage()

    def full(*arguments: Any) -> None:
        with room_for(0):
            main(*arguments)

    with pytest.raises(SystemExit) as ended:
        run(full, *NAMED, "--log", "logs/stage.log")
    line = "logs/stage.log: cannot be written (File too large); make room and run the same command again"
    assert ended.value.code == 1 and capsys.readouterr().err == f"error: {line}\n"
    assert line in Path("logs/stage.log").read_text("utf-8")  # it fitted after the limit was lifted
    run(main, *NAMED, "--log", "logs/stage.log")


def test_a_log_that_cannot_be_opened_gives_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("logs").write_text("a file where a folder has to be")
    with pytest.raises(SystemExit) as ended:
        run(Stage(), *NAMED, "--log", "logs/stage.log")
    assert ended.value.code == 1
    line = "error: logs/stage.log: cannot be written (File exists); correct this and run the same command again\n"
    assert capsys.readouterr().err == line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_on_a_full_disk_does_not_hide_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    def main(*arguments: Any) -> None:
        raise DataError("a.jpg: cannot be read")

    Path("stage.log").symlink_to("/dev/full")
    with pytest.raises(SystemExit):
        run(main, *NAMED, "--log", "stage.log")
    assert capsys.readouterr().err == "error: a.jpg: cannot be read\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "a.npy"),
            "a.npy: cannot be written (No space left on device)",
        ),
        (sqlite3.OperationalError("database or disk is full"), "a file: cannot be written (database or disk is"),
    ],
)
def test_an_unexpected_full_disk_gives_one_line(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(Stage(error), *NAMED, "--log", "stage.log")
    printed = capsys.readouterr().err
    assert ended.value.code == 1 and printed.startswith(f"error: {line}")
    assert printed.endswith("; make room and run the same command again\n") and printed.count("\n") == 1


STAGE_THAT_CLOSES = """
import time
from palimpsest import stage

def main(settings, layout, options):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("closing", flush=True)
        time.sleep(1)
        print("closed", flush=True)

stage.run(main, None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_job_closes_its_files_after_repeated_signals_too(number: int, tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(STAGE_THAT_CLOSES)
    command = [sys.executable, "stage.py", "--log", "stage.log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(number)
        assert process.stdout.readline() == "closing\n"
        process.send_signal(signal.SIGINT)  # from the terminal
        process.terminate()  # from the watch for the parent's end
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "closed\n")
    assert err == "error: interrupted; the next run resumes from the last checkpoint\n"
