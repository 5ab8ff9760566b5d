import ast
import logging
import shutil
import subprocess
from pathlib import Path

import pytest

from palimpsest import provenance
from palimpsest.data.formats import FORMATS
from palimpsest.methods import BASE, METHODS
from palimpsest.provenance import (
    TABLES,
    GitError,
    commit_of_code,
    digest,
    file_of,
    sources,
    stage_sources,
)
from palimpsest.tasks import KINDS

SOURCE = "src/palimpsest"


@pytest.fixture(autouse=True)
def in_the_repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))


def test_a_stage_runs_its_own_file_and_what_it_imports_at_any_distance() -> None:
    found = sources(["pipeline.train"])
    assert {
        "pipeline/train.py",
        f"{SOURCE}/training/task_training.py",
        f"{SOURCE}/training/loop.py",
        f"{SOURCE}/storage/atomic.py",
        f"{SOURCE}/errors.py",
    } <= set(found)
    assert found == sorted(set(found)) and all(Path(name).is_file() for name in found)


def test_the_packages_around_a_module_are_run_too() -> None:
    found = sources(["palimpsest.metrics.pictures"])
    assert found == [f"{SOURCE}/__init__.py", f"{SOURCE}/metrics/__init__.py", f"{SOURCE}/metrics/pictures.py"]


def test_what_the_packages_around_a_module_import_is_run_too() -> None:
    found = sources(["palimpsest.networks.perceptual"])
    assert {f"{SOURCE}/networks/settings.py", f"{SOURCE}/schema.py"} <= set(found)


def test_what_a_stage_does_not_import_is_not_among_its_sources() -> None:
    found = set(sources(["pipeline.train"]))
    for absent in ("report/page.py", "analysis/sizes.py", "data/generated.py", "data/download.py"):
        assert (Path(SOURCE) / absent).exists() and f"{SOURCE}/{absent}" not in found
    assert f"{SOURCE}/training/loop.py" not in sources(["pipeline.prepare"])


def test_imports_for_the_type_checker_alone_do_not_count() -> None:
    tracking = ast.parse(Path(f"{SOURCE}/tracking.py").read_text("utf-8"))
    assert "palimpsest.analysis.forgetting" in {
        n.module for n in ast.walk(tracking) if isinstance(n, ast.ImportFrom)
    }
    assert f"{SOURCE}/analysis/forgetting.py" not in sources(["palimpsest.tracking"])


BUILT_ON = {
    "ewc": ["fine-tune"],
    "lwf": ["fine-tune"],
    "piggyback-ternary": ["piggyback"],
    "piggyback-affine": ["piggyback"],
    "piggyback-resblock": ["piggyback"],
    "resblock6": ["decoder"],
    "resblock9": ["decoder"],
}
"""Methods whose code is that of another and a little more."""


@pytest.mark.parametrize("method", [BASE, *METHODS])
def test_a_training_depends_on_its_own_method_and_what_that_is_built_on(method: str) -> None:
    files = {name: file_of(entry.path.partition(":")[0]).as_posix() for name, entry in METHODS.items()}
    found = set(stage_sources("train", [method], ["segmentation"]))
    own = files["scratch" if method == BASE else method]
    assert found & set(files.values()) == {own, *(files[name] for name in BUILT_ON.get(method, ()))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_depends_on_its_own_kind_of_task_and_on_no_other(kind: str) -> None:
    files = {name: file_of(row.task.partition(":")[0]).as_posix() for name, row in KINDS.items()}
    found = set(stage_sources("train", ["scratch"], [kind]))
    also = {files["paired"]} if kind == "reconstruction" else set()  # which is a picture paired with itself
    assert found & set(files.values()) == {files[kind], *also}


@pytest.mark.parametrize("format", FORMATS)
def test_a_preparation_depends_on_its_own_format_and_on_no_other(format: str) -> None:
    files = {name: file_of(row.reader.partition(":")[0]).as_posix() for name, row in FORMATS.items()}
    found = set(stage_sources("prepare", (), ["style"], [format]))
    also = {files["voc"]} if format == "coco" else set()  # generated label maps have VOC's palette
    assert found & set(files.values()) == {files[format], *also}


def test_every_module_is_run_by_a_stage_of_the_pipeline_by_the_command_line_or_by_programs_of_ones_own() -> None:
    stages = [path.stem for path in Path("pipeline").glob("*.py") if path.stem != "__init__"]
    reached = {name for stage in stages for name in stage_sources(stage, METHODS, KINDS, FORMATS)}
    reached |= set(sources(["palimpsest.cli", "palimpsest.machine", "palimpsest.storage.switcher"]))
    reached |= {file_of(table).as_posix() for table in TABLES}
    assert {path.as_posix() for path in Path(SOURCE).rglob("*.py")} - reached == set()


def test_the_file_of_a_module_and_of_a_package() -> None:
    assert file_of("palimpsest.methods") == Path(SOURCE, "methods", "__init__.py")
    assert file_of("palimpsest.methods.masks") == Path(SOURCE, "methods", "masks.py")
    assert file_of("pipeline.train") == Path("pipeline", "train.py")


def test_a_digest_is_over_the_text_and_the_content_of_files_in_their_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    digests = {digest("a", [one, two]), digest("b", [one, two]), digest("a", [two, one]), digest("a", [one])}
    assert len(digests) == 4
    shutil.copy(one, tmp_path / "copy")
    assert digest("a", [tmp_path / "copy", str(two)]) == digest("a", [one, two])


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the code of a study, in no repository."""
    folder = tmp_path / "around" / "study"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (folder / "Snakefile").touch()
    return folder


def call(*arguments: str, at: Path | None = None) -> str:
    """Run git as a user would."""
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *who, *arguments], check=True, capture_output=True, text=True, cwd=at)
    return done.stdout.strip()


def committed(at: Path | None = None, *files: str) -> str:
    """Commit files to a repository, made when missing, and return the commit."""
    call("init", "-q", at=at)
    call("add", *files or ("Snakefile",), at=at)
    call("commit", "-q", "--allow-empty", "-m", "first", at=at)
    return call("rev-parse", "HEAD", at=at)


def why(reason: str) -> None:
    """Check that no commit is found, for this reason."""
    with pytest.raises(GitError, match=reason):
        commit_of_code()


def test_the_commit_of_the_code_is_told_and_whether_the_code_differs(study: Path) -> None:
    commit = committed()
    assert commit_of_code() == commit and len(commit) == 40
    Path("params.yaml").touch()  # no code
    assert commit_of_code() == commit
    Path("requirements.lock").touch()
    assert commit_of_code() == f"{commit}-dirty"
    call("config", "status.showUntrackedFiles", "no")
    assert commit_of_code() == f"{commit}-dirty"
    Path("requirements.lock").unlink()
    Path("Snakefile").write_text("changed")
    assert commit_of_code() == f"{commit}-dirty"


def test_a_repository_around_the_study_that_does_not_track_it_is_not_recorded(study: Path) -> None:
    around = study.parent
    (around / "Snakefile").touch()  # another one
    (around / ".gitignore").write_text("study/\n")
    committed(around, "Snakefile", ".gitignore")
    why(rf"^the repository {around} does not track {study}/Snakefile; commit it to one$")
    (around / ".gitignore").unlink()
    why("does not track")


def test_a_repository_around_the_study_that_tracks_it_is_recorded(study: Path) -> None:
    commit = committed(study.parent, "study/Snakefile")
    (study.parent / "src").mkdir()
    (study.parent / "src" / "other.py").touch()  # of another project of this repository
    assert commit_of_code() == commit
    Path("src").mkdir()
    Path("src/own.py").touch()
    assert commit_of_code() == f"{commit}-dirty"


def test_a_linked_worktree_and_a_submodule_have_commits_of_their_own(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = committed()
    call("worktree", "add", "-q", str(tmp_path / "linked"))
    monkeypatch.chdir(tmp_path / "linked")
    assert commit_of_code() == commit
    whole = tmp_path / "whole"
    whole.mkdir()
    call("init", "-q", at=whole)
    call("submodule", "--quiet", "add", str(study), "sub", at=whole)
    committed(whole, "sub")
    monkeypatch.chdir(whole / "sub")
    assert commit_of_code() == commit


def test_without_a_commit_or_a_repository_or_git_the_reason_is_told(
    study: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    why(r"^not a git repository")
    call("init", "-q")
    why("does not track")
    call("add", "Snakefile")
    why(r"^Needed a single revision$")
    monkeypatch.setenv("PATH", "")
    why(r"^git cannot be run \(No such file or directory\)$")
    monkeypatch.setattr(logging.getLogger("palimpsest"), "propagate", True)
    assert provenance.code_version.__wrapped__() == ""
    told = "no commit is recorded: git cannot be run (No such file or directory)"
    assert caplog.messages == [told]
    provenance.say_unrecorded()
    assert capsys.readouterr().err == f"note: {told}\n"


def test_git_s_own_variables_of_another_repository_do_not_count(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "Snakefile").touch()
    committed(other)
    call("commit", "-q", "--allow-empty", "-m", "second", at=other)
    commit = committed()
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))  # as in a hook of that repository
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert commit_of_code() == commit


def test_a_repository_of_somebody_else_is_told_with_git_s_command(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to test it
    why(
        rf"^detected dubious ownership in repository at '{study}';"
        rf" run `git config --global --add safe\.directory {study}`$"
    )


def test_what_git_says_is_read_in_any_encoding(study: Path) -> None:
    commit = committed()
    call("config", "core.quotePath", "false")
    Path("src").mkdir()
    try:
        Path("src", "caf\udce9.py").touch()
    except OSError:
        pytest.skip("a file system that takes no such name")
    assert commit_of_code() == f"{commit}-dirty"
