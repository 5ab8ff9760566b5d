"""Digest of the code that a job runs: statements of the modules that its stage imports.

Snakemake tracks a stage's command but not the code behind it. The digest is a parameter of the rule: a changed
statement reruns the rules that import its module, and no others. Comments, docstrings, formatting and dates do not
enter the digest.
"""

import ast
import hashlib
import os
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

import grimp
from grimp.exceptions import SourceSyntaxError

from palimpsest.data.formats import FORMATS
from palimpsest.errors import CodeError
from palimpsest.methods import entry_of
from palimpsest.networks import NETWORKS
from palimpsest.tasks import KINDS

PACKAGES = {"palimpsest": Path("src"), "pipeline": Path()}
"""Folder of each package whose code is digested."""
TABLES = {
    "palimpsest.data.formats",
    "palimpsest.methods",
    "palimpsest.methods.settings",
    "palimpsest.networks",
    "palimpsest.tasks",
}
"""Tables of methods, their settings, networks, kinds of tasks and formats. A job has its entries as parameters of
its rule, so that a change of another entry does not rerun it."""


def stage_digest(
    stage: str,
    methods: Iterable[str] = (),
    kinds: Iterable[str] = (),
    networks: Iterable[str] = (),
    formats: Iterable[str] = (),
    modules: Iterable[str] = (),
) -> str:
    """Return the digest of the code that a stage of the pipeline runs for these rows of the tables.

    ``stage`` is the name of a module in `pipeline`; the other arguments are names of methods, kinds of task,
    networks and data formats, and of other modules that the stage imports by name.

    Raises:
        CodeError: a module is not valid Python.
    """
    return files_digest(stage_sources(stage, methods, kinds, networks, formats, modules))


def files_digest(files: Iterable[str]) -> str:
    """Return one digest of the paths and statements of Python files, in their order.

    Raises:
        CodeError: a file is not valid Python.
    """
    sha256 = hashlib.sha256()
    for file in files:
        status = Path(file).stat()
        sha256.update(f"{file} {file_digest(file, status.st_mtime_ns, status.st_size)}\n".encode())
    return sha256.hexdigest()


@cache
def file_digest(file: str, modified: int, size: int) -> str:
    """Return the digest of a file's statements; date and size are keys of the cache.

    Raises:
        CodeError: the file is not valid Python.
    """
    try:
        return statements_digest(Path(file).read_bytes())
    except SyntaxError as error:
        raise CodeError(f"{file}, line {error.lineno or 1}: {error.msg}; correct the file") from error


def statements_digest(source: bytes) -> str:
    """Return the SHA-256 of the statements of Python source, without docstrings, comments and formatting.

    Raises:
        SyntaxError: the source is not valid Python.
    """
    parts: list[str] = []
    write_parts(ast.parse(source), parts)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def write_parts(node: ast.AST, parts: list[str]) -> None:
    """Append the parts of a syntax tree to a list, without positions and docstrings.

    `ast.dump` takes three times as long, and writes absent fields differently in different versions of Python.
    """
    parts.append(f"{type(node).__name__}(")
    for name in node._fields:
        value = getattr(node, name, None)
        if value is None or value == [] or name in NOTATION:
            continue
        parts.append(f"{name}=")
        if isinstance(value, list):
            parts.append("[")
            for item in value:
                write_value(item, parts)
            parts.append("]")
        else:
            write_value(value, parts)
    parts.append(")")


def write_value(value: object, parts: list[str]) -> None:
    """Append the parts of a node or a constant to a list; skip a docstring."""
    if not isinstance(value, ast.AST):
        parts.append(repr(value))
    elif not is_docstring(value):
        write_parts(value, parts)


NOTATION = {"kind", "type_comment"}
"""Fields of a syntax tree that concern notation only: the prefix of u"text", and types in comments."""


def is_docstring(node: ast.AST) -> bool:
    """Return True for a statement that is only a text: the docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@lru_cache(maxsize=1)
def import_graph() -> grimp.ImportGraph:
    """Return the graph of imports of `PACKAGES`, without imports that only a type checker follows.

    Raises:
        CodeError: a module is not valid Python.
    """
    try:
        return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    except SourceSyntaxError as error:
        file = os.path.relpath(error.filename)
        files_digest([file])  # raises the error with Python's message
        raise CodeError(f"{file}, line {error.lineno}: invalid syntax; correct the file") from error


def sources(modules: Iterable[str]) -> list[str]:
    """Return the files of modules and of all their imports, relative to the repository's root, sorted.

    The packages around a module are imported before it, so they and their imports are included. Modules that are
    imported by name at run time, such as methods, have to be in ``modules``. The `TABLES` are left out.
    """
    graph = import_graph()
    closure: set[str] = set()
    added = set(modules)
    while added:
        closure |= added
        imports = {name for module in added for name in graph.find_upstream_modules(module)}
        added = {package for module in closure | imports for package in with_packages(module)} - closure
    return sorted({str(file_of(name)) for name in closure - TABLES})


def with_packages(module: str) -> list[str]:
    """Return the names of the packages around a module, outermost first, and of the module."""
    parts = module.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]


def stage_sources(
    stage: str,
    methods: Iterable[str] = (),
    kinds: Iterable[str] = (),
    networks: Iterable[str] = (),
    formats: Iterable[str] = (),
    modules: Iterable[str] = (),
) -> list[str]:
    """Return the files of the code that `stage_digest` covers, sorted, relative to the repository's root."""
    entries = [entry_of(method) for method in methods]
    rows = [KINDS[kind] for kind in kinds]
    by_name = [path for entry in entries for path in (entry.path, entry.settings) if path]
    by_name += [path for row in rows for path in (row.task, row.settings)]
    for name in networks:
        by_name += [NETWORKS[name].path, NETWORKS[name].settings, *NETWORKS[name].modules]
    by_name += [path for name in formats for path in FORMATS[name].paths]
    return sources([f"pipeline.{stage}", *modules, *(path.split(":")[0] for path in by_name)])


def file_of(module: str) -> Path:
    """Return the file of a module or package, relative to the repository's root."""
    path = PACKAGES[module.split(".", maxsplit=1)[0]].joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
