"""Edits of the code and the jobs that they rerun; outputs are empty files, and no job runs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.conftest import Study, copied

pytestmark = pytest.mark.slow

SHARED = "src/palimpsest/errors.py"
"""Module that every job imports."""
TRAININGS = {f"piggyback/{task}" for task in ("voc-seg", "colorize", "style-gogh", "style-munch")}


@pytest.fixture(scope="module")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Return a study whose outputs are empty files and recorded as made."""
    study = copied(tmp_path_factory.mktemp("adopted") / "project")
    (jobs,) = study.graphs(("all", {}))
    for path in (study.folder / output for job in jobs for output in job.output):
        folder = path if path.name == "samples" else path.parent
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    study.run("palimpsest", "adopt")
    return study


@pytest.fixture
def study(adopted: Study) -> Iterator[Study]:
    """Yield this study, and restore its code afterwards."""
    yield adopted
    adopted.run("git", "checkout", "--quiet", ".")


def edit(study: Study, file: str, before: str, after: str) -> None:
    """Replace a text that occurs once in a file."""
    path = study.folder / file
    content = path.read_text("utf-8")
    assert content.count(before) == 1
    path.write_text(content.replace(before, after), "utf-8")


def trained(paths: set[str]) -> set[str]:
    """Return the stored tasks among planned outputs as method/task."""
    stored = (Path(path) for path in paths if path.startswith("models/") and path.endswith(".safetensors"))
    return {"/".join(path.with_suffix("").parts[-2:]) for path in stored}


def test_a_comment_a_docstring_formatting_and_a_newer_date_rerun_nothing(study: Study) -> None:
    assert "Nothing to be done" in study.snakemake("-n", "all")
    edit(study, SHARED, "import difflib\n", "# Of the standard library.\nimport difflib\n")
    edit(study, SHARED, '"""Base of all errors', '"""Base class of all errors')
    edit(study, SHARED, "choices = list(map(str, names))", "choices = list(\n        map(str, names),\n    )")
    for path in (study.folder / "src").rglob("*.py"):
        os.utime(path)
    assert "Nothing to be done" in study.snakemake("-n", "all")


def test_a_statement_of_a_shared_module_reruns_everything(study: Study) -> None:
    edit(study, SHARED, "cutoff=0.45", "cutoff=0.46")
    planned = study.planned()
    (jobs,) = study.graphs(("all", {}))
    assert planned == {path for job in jobs for path in job.output}


def test_a_statement_of_a_method_reruns_that_method_alone(study: Study) -> None:
    path = study.folder / "src/palimpsest/methods/piggyback.py"
    path.write_text(f"{path.read_text('utf-8')}\nEDITED = True\n", "utf-8")
    planned = study.planned()
    assert trained(planned) == TRAININGS
    measured = {Path(path).parent.name for path in planned if path.startswith("results/mini/evaluation/")}
    assert measured == {"piggyback"}
    assert {"results/mini/report.html", "results/mini/bundle.safetensors"} < planned


def test_a_template_reruns_the_page_by_its_content_and_not_by_its_date(study: Study) -> None:
    template = study.folder / "src/palimpsest/report/templates/page.html.j2"
    os.utime(template)
    assert "Nothing to be done" in study.snakemake("-n", "all")
    template.write_text(template.read_text("utf-8") + "<!-- edited -->\n", "utf-8")
    assert study.planned() == {"results/mini/report.html"}


@pytest.mark.parametrize(
    "file", ["src/palimpsest/errors.py", "src/palimpsest/methods/ewc.py", "pipeline/collect.py"]
)
def test_a_syntax_error_stops_the_snakefile_with_one_line(study: Study, file: str) -> None:
    path = study.folder / file
    lines = path.read_text("utf-8").count("\n")
    path.write_text(f"{path.read_text('utf-8')}def (\n", "utf-8")
    ended = study.run("snakemake", "-n", "all", check=False)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"error: {file}, line {lines + 1}: invalid syntax; ")
