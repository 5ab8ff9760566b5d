"""Digest of the code that a job runs: its files and their statements."""

import ast
import os
from pathlib import Path

import pytest

from palimpsest.code_digest import (
    TABLES,
    file_of,
    files_digest,
    sources,
    stage_digest,
    stage_sources,
    statements_digest,
)
from palimpsest.data.formats import FORMATS
from palimpsest.errors import CodeError
from palimpsest.explaining import EXPERIMENTS
from palimpsest.methods import BASE, METHODS
from palimpsest.networks import NETWORKS
from palimpsest.tasks import KINDS
from tests.conftest import ROOT

SOURCE = "src/palimpsest"


@pytest.fixture(autouse=True)
def in_the_repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))


def test_sources_of_a_stage_are_its_file_and_its_transitive_imports() -> None:
    files_of_stage = sources(["pipeline.train"])
    assert {
        "pipeline/train.py",
        f"{SOURCE}/training/task_training.py",
        f"{SOURCE}/training/loop.py",
        f"{SOURCE}/storage/atomic.py",
        f"{SOURCE}/errors.py",
    } <= set(files_of_stage)
    assert files_of_stage == sorted(set(files_of_stage)) and all(Path(name).is_file() for name in files_of_stage)


def test_sources_include_the_packages_of_a_module() -> None:
    files_of_stage = sources(["palimpsest.metrics.pictures"])
    assert files_of_stage == [
        f"{SOURCE}/__init__.py",
        f"{SOURCE}/metrics/__init__.py",
        f"{SOURCE}/metrics/pictures.py",
    ]


def test_sources_of_a_stage_are_only_its_imports() -> None:
    files_of_stage = set(sources(["pipeline.train"]))
    for absent in ("report/page.py", "analysis/sizes.py", "data/generated.py", "data/download.py"):
        assert (Path(SOURCE) / absent).exists() and f"{SOURCE}/{absent}" not in files_of_stage
    assert f"{SOURCE}/training/loop.py" not in sources(["pipeline.prepare"])


def test_imports_for_the_type_checker_alone_do_not_count() -> None:
    runs = ast.parse(Path(f"{SOURCE}/tracking/runs.py").read_text("utf-8"))
    assert "palimpsest.analysis.forgetting" in {n.module for n in ast.walk(runs) if isinstance(n, ast.ImportFrom)}
    assert f"{SOURCE}/analysis/forgetting.py" not in sources(["palimpsest.tracking.runs"])


BUILT_ON = {
    "ewc": ["fine-tune"],
    "lwf": ["fine-tune"],
    "piggyback-ternary": ["piggyback"],
    "piggyback-affine": ["piggyback"],
    "piggyback-resblock": ["piggyback"],
    "resblock6": ["decoder"],
    "resblock9": ["decoder"],
}
"""Methods whose code extends that of other methods."""


@pytest.mark.parametrize("method", [BASE, *METHODS])
def test_a_training_depends_on_its_method_and_the_methods_it_extends(method: str) -> None:
    files = {name: file_of(entry.path.partition(":")[0]).as_posix() for name, entry in METHODS.items()}
    files_of_stage = set(stage_sources("train", [method], ["segmentation"]))
    method_file = files["scratch" if method == BASE else method]
    assert files_of_stage & set(files.values()) == {
        method_file,
        *(files[name] for name in BUILT_ON.get(method, ())),
    }


STAGES = [path.stem for path in (ROOT / "pipeline").glob("*.py") if path.stem != "__init__"]


@pytest.mark.parametrize(
    ("module", "stages"),
    [
        ("report/chart.py", {"report", "explained", "readme"}),  # imports matplotlib
        ("training/loop.py", {"train", "explain"}),
        ("data/categories.py", {"raw", "weights", "prepare", "readme", "bundle", "report"}),
        ("tracking/runs.py", {"train", "evaluate", "report"}),
        ("tracking/sender.py", set()),
        ("errors.py", set(STAGES)),
    ],
)
def test_a_module_affects_only_the_stages_that_import_it(module: str, stages: set[str]) -> None:
    assert {stage for stage in STAGES if f"{SOURCE}/{module}" in stage_sources(stage)} == stages


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_depends_on_its_kind_of_task_alone(kind: str) -> None:
    files = {name: file_of(row.task.partition(":")[0]).as_posix() for name, row in KINDS.items()}
    files_of_stage = set(stage_sources("train", ["scratch"], [kind]))
    also = {files["paired"]} if kind == "reconstruction" else set()  # a picture paired with itself
    assert files_of_stage & set(files.values()) == {files[kind], *also}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_training_depends_on_its_network_alone(network: str) -> None:
    files = {name: file_of(row.path.partition(":")[0]).as_posix() for name, row in NETWORKS.items()}
    files_of_stage = set(stage_sources("train", ["scratch"], ["segmentation"], [network]))
    also = {files["unet"]} if network == "encoder" else set()  # whose encoder it is
    assert files_of_stage & set(files.values()) == {files[network], *also}


@pytest.mark.parametrize("format", FORMATS)
def test_a_preparation_depends_on_its_format_alone(format: str) -> None:
    files = {name: file_of(row.reader.partition(":")[0]).as_posix() for name, row in FORMATS.items()}
    imported = set(stage_sources("prepare", kinds=["style"], formats=[format]))
    also = {files["voc"]} if format in ("coco", "paired") else set()  # generated label maps have VOC's palette
    assert imported & set(files.values()) == {files[format], *also}


def test_every_module_is_used_by_a_stage_the_command_line_or_the_public_interface() -> None:
    stages = [path.stem for path in Path("pipeline").glob("*.py") if path.stem != "__init__"]
    reached = {name for stage in stages for name in stage_sources(stage, METHODS, KINDS, NETWORKS, FORMATS)}
    of_workflow = ["palimpsest.preflight", "palimpsest.progress", "palimpsest.download_note", "palimpsest.slurm"]
    reached |= set(sources([*of_workflow, "palimpsest.__main__", "palimpsest.cli.__main__", "palimpsest.bundle"]))
    reached |= set(sources(experiment.path.partition(":")[0] for experiment in EXPERIMENTS.values()))
    reached |= set(sources(row.checks.partition(":")[0] for row in FORMATS.values()))
    reached |= {file_of(table).as_posix() for table in TABLES}
    assert {path.as_posix() for path in Path(SOURCE).rglob("*.py")} - reached == set()


def test_the_file_of_a_module_and_of_a_package() -> None:
    assert file_of("palimpsest.methods") == Path(SOURCE, "methods", "__init__.py")
    assert file_of("palimpsest.methods.masks") == Path(SOURCE, "methods", "masks.py")
    assert file_of("pipeline.train") == Path("pipeline", "train.py")


WRITTEN = '''
"""Module."""
import os

LIMIT = 3
"""Attribute."""

class Shape(Base):
    """Class."""
    side: int = 1
    """Attribute."""

def area(shape, *, scale=None):
    """Function."""
    if shape:
        return {"side": shape.side, **scale}  # a comment
    return (1, 2), u"text", f"{shape!r:>{LIMIT}}"
'''

OTHERWISE = '''# A comment at the top.
import os
LIMIT = (3)

class Shape(
    Base,
):
    """Another text.

    Of several lines.
    """

    side: int = 1
def area(shape, *, scale=None,):
    if shape: return {'side': shape.side, **scale,}
    return (
        (1, 2), "te" "xt", f'{shape!r:>{LIMIT}}'
    )
'''
"""Equal statements in another format."""


def test_comments_docstrings_and_formatting_do_not_count() -> None:
    assert statements_digest(WRITTEN.encode()) == statements_digest(OTHERWISE.encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("LIMIT = 3", "LIMIT = '3'"),
        ("LIMIT = 3", "LIMIT: int = 3"),
        ("LIMIT = 3", "LIMIT = None"),
        ("import os", "import os.path"),
        ("side: int = 1", "side: int = 1\n    pass"),
        ("(Base)", "(metaclass=Base)"),
        ("*, scale", "scale"),
        ("scale=None", "scale=()"),
        ("if shape:", "if not shape:"),
        ("**scale", "'scale': scale"),
        ("(1, 2)", "[1, 2]"),
        ("!r", "!s"),
        ('u"text"', 'b"text"'),
        ('u"text"', '"Text"'),
        ("def area", "async def area"),
        ("shape.side", "shape[side]"),
        ("[:LIMIT]", "[LIMIT:]"),
    ],
)
def test_every_change_of_a_statement_counts(before: str, after: str) -> None:
    source = f"{WRITTEN}\nrest = shape[:LIMIT]\n"
    assert before in source
    changed = source.replace(before, after, 1)
    assert statements_digest(changed.encode()) != statements_digest(source.encode())


def test_every_file_of_the_repository_has_a_digest_of_its_statements() -> None:
    files = sources(["pipeline.train", "pipeline.prepare", "pipeline.report"])
    bare = [file for file in files if Path(file).name == "__init__.py"]
    digests = {statements_digest(Path(file).read_bytes()) for file in files if file not in bare}
    assert len(digests) == len(files) - len(bare) > 70


def test_a_file_that_is_saved_again_or_dated_again_keeps_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("LIMIT = 3\n")
    before = files_digest([str(file)])
    file.write_text("LIMIT = 3  # pixels\n")
    os.utime(file, (1, 1))
    assert files_digest([str(file)]) == before
    file.write_text("LIMIT = 4\n")
    assert files_digest([str(file)]) != before


def test_the_digest_of_a_stage_depends_on_its_methods_and_not_on_their_order() -> None:
    kinds = ["segmentation", "style"]
    assert stage_digest("train", ["ewc"], kinds) == stage_digest("train", ["ewc"], kinds[::-1])
    assert stage_digest("train", ["ewc"], kinds) != stage_digest("train", ["lwf"], kinds)


@pytest.mark.parametrize("content", [b"import os\ndef (\n", b"import os\n\x00\n", b"import os\n\xff\n"])
def test_a_file_that_is_no_python_is_named_with_its_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "module.py"
    file.write_bytes(content)
    with pytest.raises(CodeError, match=rf"^{file}, line [12]: .*; correct the file$"):
        files_digest([str(file)])
