"""`palimpsest adopt`: links among the outputs, and Snakemake's messages."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from palimpsest import adoption
from palimpsest.adoption import (
    adopt,
    check_dates,
    dated_outputs,
    files_and_links,
    refuse_failure,
    replace_by_copies,
)
from palimpsest.cli import main
from palimpsest.errors import PalimpsestError, StorageError
from palimpsest.layout import SNAKEMAKE, Layout
from palimpsest.processes.run_lock import exclude_runs, hold_run_lock
from tests.conftest import room_for

LAYOUT = Layout("mini")
STORED = LAYOUT.stored(0, "piggyback", "voc-seg")
TOMORROW = time.time() + 86_400


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(path: Path, content: str = "content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_hard_link_becomes_a_separate_file() -> None:
    cached = write(Path("cache"))
    STORED.parent.mkdir(parents=True)
    STORED.hardlink_to(cached)
    cached.chmod(0o444)
    assert replace_by_copies([STORED]) == 1
    assert STORED.read_text() == cached.read_text() == "content"
    assert STORED.stat().st_nlink == cached.stat().st_nlink == 1
    assert os.access(STORED, os.W_OK) and STORED.stat().st_mode & 0o200 and not cached.stat().st_mode & 0o200
    assert replace_by_copies([STORED]) == 0


def test_a_write_protected_file_becomes_writable() -> None:
    write(STORED).chmod(0o444)
    assert replace_by_copies([STORED]) == 1
    assert STORED.stat().st_mode & 0o200 and STORED.read_text() == "content"


def test_symbolic_links_stay_except_one_that_dates_a_folder() -> None:
    cached, date = write(Path("cache")).absolute(), STORED.with_name(adoption.FOLDER_DATE)
    STORED.parent.mkdir(parents=True)
    for link in (STORED, date):
        link.symlink_to(cached)
    assert replace_by_copies([STORED, date]) == 1
    assert STORED.is_symlink() and not date.is_symlink() and date.read_bytes() == b""
    assert cached.read_text() == "content"


@pytest.mark.parametrize("name", [STORED.name, adoption.FOLDER_DATE])
def test_a_broken_link_is_accepted(name: str) -> None:
    link = STORED.with_name(name)
    link.parent.mkdir(parents=True)
    link.symlink_to("gone")
    assert replace_by_copies([link]) == (name == adoption.FOLDER_DATE)


def test_a_link_to_a_file_of_the_future_becomes_a_separate_file() -> None:
    os.utime(write(Path("cache")), (TOMORROW, TOMORROW))
    STORED.parent.mkdir(parents=True)
    STORED.symlink_to(Path("cache").absolute())
    assert replace_by_copies([STORED]) == 1
    assert not STORED.is_symlink() and STORED.read_text() == "content" and STORED.stat().st_mtime < TOMORROW


def test_a_full_disk_loses_no_file() -> None:
    cached = write(Path("cache"), "content" * 1000)
    STORED.parent.mkdir(parents=True)
    STORED.hardlink_to(cached)
    with pytest.raises(StorageError, match=r"voc-seg\.safetensors: cannot be written .*make room"), room_for(10):
        replace_by_copies([STORED])
    assert [path.name for path in STORED.parent.iterdir()] == [STORED.name]
    assert STORED.read_text() == "content" * 1000


def test_the_search_for_outputs_omits_pictures_of_data_sets() -> None:
    prepared = [LAYOUT.prepared("colorize") / name for name in ("info.json", "picture.npy")]
    outputs = {STORED, LAYOUT.manifest("coco"), LAYOUT.results / "report.html", *prepared}
    pictures = LAYOUT.manifest("coco").with_name("train2017") / "1.jpg"
    for path in (*outputs, pictures, Layout("real").results / "report.html"):
        write(path)
    assert set(files_and_links(LAYOUT.outputs())) == outputs


def test_an_empty_folder_is_not_adopted() -> None:
    with pytest.raises(StorageError, match=r"^results/mini: no outputs to adopt.*`dvc pull`"):
        adopt(LAYOUT)
    assert not SNAKEMAKE.exists()


def test_nothing_is_adopted_during_a_run(tmp_path: Path) -> None:
    write(STORED)
    hold_run_lock(SNAKEMAKE)
    with pytest.raises(StorageError, match=r"^\.snakemake: a run of Snakemake is active here; wait"):
        adopt(LAYOUT)
    with pytest.raises(StorageError), exclude_runs(SNAKEMAKE):
        pass
    assert not adoption.MARK.exists()


def test_an_interrupted_adoption_has_to_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    write(STORED)

    def interrupted(*arguments: str, config: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adoption, "snakemake", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adopt(LAYOUT)
    with pytest.raises(
        StorageError, match=r"^\.snakemake/adopting: `palimpsest adopt` was interrupted; run it again"
    ):
        check_dates(LAYOUT)
    monkeypatch.setattr(
        adoption, "snakemake", lambda *arguments, config: done(0, "a\t-\tb\tc\tmissing\tno update\n")
    )
    adopted = adopt(LAYOUT)
    assert (adopted.outputs, adopted.missing) == (0, ("a",))
    check_dates(LAYOUT)


@pytest.mark.parametrize("path", [Path("styles/painting.jpg"), STORED], ids=str)
def test_a_file_of_the_future_is_refused_before_a_job_fails(path: Path) -> None:
    write(path)
    check_dates(LAYOUT)
    os.utime(path, (TOMORROW, TOMORROW))
    mend = "run `palimpsest adopt`" if path == STORED else "`touch` the file"
    with pytest.raises(
        StorageError, match=rf"^{path}: is dated in the future \(.*\); correct the clock, or {mend}$"
    ):
        check_dates(LAYOUT)


def done(status: int, printed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], status, printed, "")


def test_the_reason_for_a_failure_of_snakemake_is_reported() -> None:
    refuse_failure(done(0, "error: none"))
    with pytest.raises(PalimpsestError, match=r"^preset: unknown value 'mine'$"):
        refuse_failure(done(1, "Using a profile\nerror: preset: unknown value 'mine'\n"))
    message = (
        r"^Snakefile: Snakemake did not record all outputs \(Output a has older .*\); nothing was removed; correct"
    )
    with pytest.raises(StorageError, match=message):
        refuse_failure(done(1, "all well\nWorkflowError in rule a in file b:\n  Output a has older dates\nmore\n"))


def test_a_summary_contains_outputs_and_their_dates() -> None:
    printed = (
        "Building\noutput_file\tdate\trule\tlog\tstatus\tplan\na b\tSat\tr\tl\tok\tno update\nc\t-\tr\tl\tm\tp\n"
    )
    assert list(dated_outputs(done(0, printed))) == [("a b", "Sat"), ("c", "-")]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["adopt"], "error: params.yaml: is missing; run palimpsest in the folder with params.yaml and Snakefile"),
        (
            ["adopt", "--config", "preset"],
            "error: --config: 'preset' is not a setting; write KEY=VALUE, as preset=real",
        ),
        (["adopt", "--config", "a={"], "error: --config: 'a={' is not a setting; write KEY=VALUE, as preset=real"),
    ],
)
def test_wrong_usage_gives_one_line(command: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    if len(command) > 1:
        write(Path("params.yaml"))
    assert main(command) == (1 if len(command) == 1 else 2)
    assert capsys.readouterr().err.strip() == message
