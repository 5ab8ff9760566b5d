"""What a result was made with: the commit, and the source files that a stage runs, the closure of its imports.

Snakemake sees a stage's command but not the code behind it; with these files among a rule's inputs, editing a
module reruns the rules that import it, and no others.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import grimp
from pydantic import BaseModel

from palimpsest.methods import entry_of
from palimpsest.tasks import KINDS

PACKAGES = {"palimpsest": Path("src"), "pipeline": Path()}
CODE = ("Snakefile", "pipeline", "requirements.lock", "src", "styles")
"""What decides results beside the settings, which every result names itself."""
TABLES = {"palimpsest.methods", "palimpsest.methods.settings", "palimpsest.tasks"}
"""Where methods, their settings and the kinds of tasks are entered. What they say of a job stands among its
parameters; the other jobs shall not run anew because something is entered that does not concern them."""
DIRTY = "-dirty"
"""Stands behind a commit from which the code differed."""


def git(*arguments: str) -> str | None:
    """What a git command prints; None outside a repository or without git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@lru_cache(maxsize=1)
def code_version() -> str:
    """The git commit of the code, ``-dirty`` behind it where the code differs; nothing outside a repository.

    Asked once, and first at the start of a job: what is committed later is not what it runs.
    """
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return ""
    return commit + (DIRTY if git("status", "--porcelain", "--", *CODE) else "")


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


def stage_sources(stage: str, methods: Iterable[str] = (), kinds: Iterable[str] = ()) -> list[str]:
    """The files that a stage of the pipeline runs, with the methods and kinds of task that it imports by name."""
    by_name = [entry_of(method).path for method in methods]
    by_name += [KINDS[kind] for kind in kinds]
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
