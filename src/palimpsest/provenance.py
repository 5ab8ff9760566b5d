"""What a result was made with: the commit, and the source files that a stage runs, the closure of its imports.

Snakemake sees a stage's command but not the code behind it; with these files among a rule's inputs, editing a
module reruns the rules that import it, and no others.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import grimp
from pydantic import BaseModel

from palimpsest.data.formats import FORMATS
from palimpsest.methods import entry_of
from palimpsest.networks import NETWORKS
from palimpsest.tasks import KINDS

PACKAGES = {"palimpsest": Path("src"), "pipeline": Path()}
CODE = ("Snakefile", "pipeline", "requirements.lock", "src", "styles")
"""What decides results beside the settings, which every result names itself."""
TRACKED = "Snakefile"
"""File that the repository of the code tracks, and another around the study does not."""
ELSEWHERE = {"GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"}
"""Variables by which git works on another repository than that around the working directory."""
TABLES = {
    "palimpsest.data.formats",
    "palimpsest.methods",
    "palimpsest.methods.settings",
    "palimpsest.networks",
    "palimpsest.tasks",
}
"""Tables of methods, their settings, networks, kinds of tasks and formats of data sets. Their content that concerns
a job stands among its parameters; an entry for another job must not rerun it."""
DIRTY = "-dirty"
"""Stands behind a commit from which the code differed."""


class GitError(Exception):
    """A failure of git; says why in one line."""


def git(*arguments: str) -> str:
    """Return what a git command prints in the repository around the working directory.

    Variables that name another repository, as git sets them for its hooks, do not count.

    Raises:
        GitError: there is no git, no repository, or no such thing in it.
    """
    around = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            env={**around, "LC_ALL": "C"},
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )
    except OSError as error:
        raise GitError(f"git cannot be run ({error.strerror})") from error
    if done.returncode:
        raise GitError(reason_in(done.stderr) or f"git {arguments[0]} exited with {done.returncode}")
    return done.stdout.strip()


def reason_in(told: str) -> str:
    """Return the first line of what git says of a failure, with the command that it proposes, if any."""
    first, _, below = told.strip().partition("\n")
    commands = [line.strip() for line in below.splitlines() if line.strip().startswith("git ")]
    return first.removeprefix("fatal: ") + "".join(f"; run `{command}`" for command in commands[:1])


def commit_of_code() -> str:
    """Return the git commit of the code, ``-dirty`` behind it where the code differs.

    A repository around a study that it does not track, as one of a home directory, says nothing of the code.

    Raises:
        GitError: there is no such commit.
    """
    if not git("ls-files", "--", TRACKED):
        around = git("rev-parse", "--show-toplevel")
        raise GitError(f"the repository {around} does not track {Path(TRACKED).absolute()}; commit it to one")
    commit = git("rev-parse", "--verify", "HEAD")
    # Whatever the user has git show by default.
    changed = git("status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=none", "--", *CODE)
    return commit + (DIRTY if changed else "")


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return `commit_of_code`, or nothing where there is none; the log says why.

    Asked once, and first at the start of a job: what is committed later is not what it runs.
    """
    try:
        return commit_of_code()
    except GitError as error:
        logging.getLogger(__name__).warning(f"no commit is recorded: {error}")
        return ""


def say_unrecorded() -> None:
    """Print one line on stderr where results will name no commit, and why."""
    try:
        commit_of_code()
    except GitError as error:
        print(f"note: no commit is recorded: {error}", file=sys.stderr)


@lru_cache(maxsize=1)
def import_graph() -> grimp.ImportGraph:
    """Who imports whom, without the imports that only a type checker follows."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def sources(modules: Iterable[str]) -> list[str]:
    """The files of these modules and of all that they import, relative to the repository's root, sorted.

    A module's packages are imported before it, and with them what they import. What is imported by name at run
    time, as a method or a kind of task, has to be named here; the tables of these are left out.
    """
    graph = import_graph()
    closure: set[str] = set()
    added = set(modules)
    while added:
        closure |= added
        found = {name for module in added for name in graph.find_upstream_modules(module)}
        added = {package for module in closure | found for package in with_packages(module)} - closure
    return sorted({str(file_of(name)) for name in closure - TABLES})


def with_packages(module: str) -> list[str]:
    """A module and the packages around it."""
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def stage_sources(
    stage: str, methods: Iterable[str] = (), kinds: Iterable[str] = (), formats: Iterable[str] = ()
) -> list[str]:
    """Return the files that a stage of the pipeline runs, with what it imports by name."""
    entries = [entry_of(method) for method in methods]
    rows = [KINDS[kind] for kind in kinds]
    by_name = [path for entry in entries for path in (entry.path, entry.settings) if path]
    by_name += [path for row in rows for path in (row.task, row.settings)]
    if by_name:
        by_name += NETWORKS.values()
    by_name += [path for name in formats for path in FORMATS[name].paths]
    return sources([f"pipeline.{stage}", *(path.split(":")[0] for path in by_name)])


def origin(settings: BaseModel, data_sha256: Mapping[str, str]) -> str:
    """What measurements were made with, as JSON: the commit, the data of each task, the settings."""
    made_with = {
        "commit": code_version(),
        "data_sha256": dict(data_sha256),
        "settings": settings.model_dump(mode="json"),
    }
    return json.dumps(made_with, indent=1, ensure_ascii=False) + "\n"


def digest(text: str, files: Iterable[Path | str]) -> str:
    """SHA-256 of a text and of the content of files, in their order."""
    sha256 = hashlib.sha256(text.encode())
    for path in files:
        sha256.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return sha256.hexdigest()


def file_of(module: str) -> Path:
    """The file of a module or package, relative to the repository's root."""
    path = PACKAGES[module.split(".", maxsplit=1)[0]].joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
