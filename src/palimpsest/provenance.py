"""Origin of a result: commit of the code, data and settings."""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel

CODE = ("Snakefile", "pipeline", "requirements.lock", "src", "styles")
"""Files and folders that decide results, beside the settings."""
TRACKED = "Snakefile"
"""File by which the repository of the code is recognised, since a repository around the study does not track it."""
REPOSITORY_VARIABLES = {
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
}
"""Variables that point git to another repository than the one around the working directory."""
DIRTY = "-dirty"
"""Suffix of a commit if the code had uncommitted changes."""


class GitError(Exception):
    """Failure of git, with its reason in one line."""


def git(*arguments: str) -> str:
    """Return the output of a git command in the repository around the working directory.

    Variables that name another repository, as git sets them for its hooks, are ignored.

    Raises:
        GitError: git is not installed, or the command fails, as without a repository.
    """
    environment = {name: value for name, value in os.environ.items() if name not in REPOSITORY_VARIABLES}
    try:
        process = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            env={**environment, "LC_ALL": "C"},
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )
    except OSError as error:
        raise GitError(f"git cannot be run ({error.strerror})") from error
    if process.returncode:
        raise GitError(git_reason(process.stderr) or f"git {arguments[0]} exited with {process.returncode}")
    return process.stdout.strip()


def git_reason(message: str) -> str:
    """Return the first line of an error message of git, with the command that git proposes, if any."""
    reason, _, details = message.strip().partition("\n")
    commands = [line.strip() for line in details.splitlines() if line.strip().startswith("git ")]
    return reason.removeprefix("fatal: ") + "".join(f"; run `{command}`" for command in commands[:1])


def commit_of_code() -> str:
    """Return the git commit of the code, with the suffix ``-dirty`` if the code has uncommitted changes.

    A repository that does not track the study, such as one of a home directory, is refused.

    Raises:
        GitError: the study is in no repository, or in one without commits.
    """
    if not git("ls-files", "--", TRACKED):
        repository = git("rev-parse", "--show-toplevel")
        raise GitError(
            f"the repository {repository} does not track {Path(TRACKED).absolute()}; commit it to a repository"
        )
    commit = git("rev-parse", "--verify", "HEAD")
    # Explicit options, because the user's git configuration may hide changes.
    changed = git("status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=none", "--", *CODE)
    return commit + (DIRTY if changed else "")


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return `commit_of_code`; without a commit, log the reason and return an empty text.

    The value is cached. Each job calls this function at its start, because a later commit does not change the code
    that the job runs.
    """
    try:
        return commit_of_code()
    except GitError as error:
        logging.getLogger(__name__).warning(f"no commit is recorded: {error}")
        return ""


def warn_without_commit() -> None:
    """Print a note on stderr if no commit will be recorded with the results."""
    try:
        commit_of_code()
    except GitError as error:
        print(f"note: no commit is recorded: {error}", file=sys.stderr)


def origin(settings: BaseModel, data_sha256: Mapping[str, str], **machine: object) -> str:
    """Return the content of `origin.json`: JSON with the commit, the settings and the data digest of each task.

    ``machine`` are further entries: the conditions of the measurement and the precision of the trainings.
    """
    content = {
        **machine,
        "commit": code_version(),
        "data_sha256": dict(data_sha256),
        "settings": settings.model_dump(mode="json"),
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def digest(text: str, files: Iterable[Path | str]) -> str:
    """Return one SHA-256 in hexadecimal over a text and the content of files, in their order."""
    sha256 = hashlib.sha256(text.encode())
    for path in files:
        sha256.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return sha256.hexdigest()
