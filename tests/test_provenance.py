import logging
import shutil
import subprocess
from pathlib import Path

import pytest

from palimpsest import provenance
from palimpsest.provenance import GitError, commit_of_code, digest


def test_a_digest_depends_on_text_and_content_of_files_in_order(tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    first.write_bytes(b"1")
    second.write_bytes(b"2")
    digests = {
        digest("a", [first, second]),
        digest("b", [first, second]),
        digest("a", [second, first]),
        digest("a", [first]),
    }
    assert len(digests) == 4
    shutil.copy(first, tmp_path / "copy")
    assert digest("a", [tmp_path / "copy", str(second)]) == digest("a", [first, second])


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the code of a study, outside a repository."""
    folder = tmp_path / "around" / "study"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (folder / "Snakefile").touch()
    return folder


def call(*arguments: str, at: Path | None = None) -> str:
    """Run git like a user."""
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


def test_the_commit_of_the_code_is_marked_if_the_code_differs(study: Path) -> None:
    commit = committed()
    assert commit_of_code() == commit and len(commit) == 40
    Path("params.yaml").touch()  # not code
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
    (around / "Snakefile").touch()  # of another project
    (around / ".gitignore").write_text("study/\n")
    committed(around, "Snakefile", ".gitignore")
    why(rf"^the repository {around} does not track {study}/Snakefile; commit it to a repository$")
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


def test_a_linked_worktree_and_a_submodule_have_separate_commits(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = committed()
    call("worktree", "add", "-q", str(tmp_path / "linked"))
    monkeypatch.chdir(tmp_path / "linked")
    assert commit_of_code() == commit
    outer = tmp_path / "whole"
    outer.mkdir()
    call("init", "-q", at=outer)
    call("submodule", "--quiet", "add", str(study), "sub", at=outer)
    committed(outer, "sub")
    monkeypatch.chdir(outer / "sub")
    assert commit_of_code() == commit


def test_without_a_commit_or_a_repository_or_git_the_reason_is_logged(
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
    message = "no commit is recorded: git cannot be run (No such file or directory)"
    assert caplog.messages == [message]
    provenance.warn_without_commit()
    assert capsys.readouterr().err == f"note: {message}\n"


def test_git_variables_of_another_repository_are_ignored(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "other"
    foreign.mkdir()
    (foreign / "Snakefile").touch()
    committed(foreign)
    call("commit", "-q", "--allow-empty", "-m", "second", at=foreign)
    commit = committed()
    monkeypatch.setenv("GIT_DIR", str(foreign / ".git"))  # as in a hook of that repository
    monkeypatch.setenv("GIT_INDEX_FILE", str(foreign / ".git" / "index"))
    assert commit_of_code() == commit


def test_a_repository_of_another_user_gives_the_command_of_git(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # a variable of git for tests
    why(
        rf"^detected dubious ownership in repository at '{study}';"
        rf" run `git config --global --add safe\.directory {study}`$"
    )


def test_output_of_git_is_read_in_any_encoding(study: Path) -> None:
    commit = committed()
    call("config", "core.quotePath", "false")
    Path("src").mkdir()
    try:
        Path("src", "caf\udce9.py").touch()
    except OSError:
        pytest.skip("a file system that takes no such name")
    assert commit_of_code() == f"{commit}-dirty"
