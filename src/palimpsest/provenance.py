"""What a result was made with: the commit, and the source files that a stage runs, the closure of its imports.

Snakemake sees a stage's command but not the code behind it; with these files among a rule's inputs, editing a
module reruns the rules that import it, and no others.
"""

import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import grimp

PACKAGES = {"palimpsest": Path("src"), "pipeline": Path()}


def git(*arguments: str) -> str | None:
    """What a git command prints; None outside a repository or without git."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


@lru_cache(maxsize=1)
def import_graph() -> grimp.ImportGraph:
    """Who imports whom, without the imports that only a type checker follows."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def sources(modules: Iterable[str]) -> list[str]:
    """The files of these modules and of all that they import, relative to the repository's root, sorted.

    What is imported by name at run time, as a method or a kind of task, has to be named here.
    """
    graph = import_graph()
    closure: set[str] = set()
    for module in modules:
        closure |= {module} | graph.find_upstream_modules(module)
    packages = {".".join(name.split(".")[:depth]) for name in closure for depth in range(1, name.count(".") + 1)}
    return sorted({str(file_of(name)) for name in closure | packages})


def file_of(module: str) -> Path:
    """The file of a module or package, relative to the repository's root."""
    path = PACKAGES[module.split(".", maxsplit=1)[0]].joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
