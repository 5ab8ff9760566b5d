"""Check names and docstrings of the code for `make lint`; Ruff's D401 checks the verbs of functions.

python -m tests.prose
"""

import ast
import builtins
import re
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("src", "pipeline", "benchmarks", "tests")

STANDARD = {
    "lesson": "training job",
    "course": "task files",
    "subject": "task data",
    "recollection": "loaded task",
    "recall": "load_weights",
    "examination": "evaluation job",
    "pace": "lr_multiplier",
    "judge": "perceptual loss",
    "told": "message",
    "wanted": "expected",
    "found": "the thing: predicted, paths, rows, …",
    "place": "the thing: index, path, position, …",
    "own": "the thing that differs",
}
"""Term of the field, or advice, for each coined word in names."""

ALLOWED = {"own_share", *dir(builtins)}
"""Names that stay: those of settings and of Python, such as FileNotFoundError."""

STARTS = re.compile(r"(What|Who|Whose|Where|Whether|Which|How|Of|That|All that|Everything that)\b")
"""Beginnings of a docstring that is a clause and no sentence."""


def faults(path: Path) -> Iterator[str]:
    """Yield one line per coined name and per docstring that begins as a clause."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        line = getattr(node, "lineno", 0)
        names = [name for name in names_in(node) if name not in ALLOWED]
        for word in {word for name in names for word in re.split(r"_|(?<=[a-z])(?=[A-Z])", name)}:
            if word.lower() in STANDARD:
                yield f"{path}:{line}: {word} is a coined word; write {STANDARD[word.lower()]}"
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            start = STARTS.match(node.value.value.strip())
            if start:
                yield f"{path}:{line}: a docstring begins with {start[0]!r}; begin with a verb or a noun"


def names_in(node: ast.AST) -> list[str]:
    """Return the names that a node defines or uses."""
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return []


if __name__ == "__main__":
    lines = [fault for folder in FOLDERS for path in sorted(Path(folder).rglob("*.py")) for fault in faults(path)]
    print("\n".join(lines))
    sys.exit(bool(lines))
