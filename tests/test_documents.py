"""Claims of README.md and docs/."""

import ast
import io
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from palimpsest.report.explained import PAGE, write_page
from pipeline.readme import tables

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
TABLES_OF_METHODS = ("", "-methods", "-methods-conditions")
MARKED = re.compile(r"<!-- table:([\w-]+) -->\n(.*?)<!-- /table:\1 -->", re.DOTALL)


def git(*arguments: str) -> str:
    """Return the output of git, which has the committed results; a local run changes those on the disk."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_tables_are_those_of_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in git("ls-files", "results", "docs/results").splitlines():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(git("show", f":{path}"), "utf-8")
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    expected = dict(tables(Path("results"), Path("docs/results"), params))
    shown = {name: text for page in PAGES for name, text in MARKED.findall(page.read_text("utf-8"))}
    assert shown == {name: expected.get(name, "") for name in shown}  # empty where there is no result
    of_methods = [f"{preset}{table}" for preset in ("mini", "real") for table in TABLES_OF_METHODS]
    of_sweeps = [f"mini-sweep-{method}" for method in params["sweeps"]["mini"]]
    ablations = ["mini-steps", "mini-ablation-study-loss", "mini-ablation-coded"]
    others = ["mini-methods-resblock", "bench"]
    assert {*of_methods, *of_sweeps, *ablations, *others} <= shown.keys() & expected.keys()


def test_the_page_on_masks_is_that_of_its_results(tmp_path: Path) -> None:
    names = ("metrics.csv", "conditions.json")
    metrics, conditions = (git("show", f":results/mini/explain/{name}") for name in names)
    write_page(pd.read_csv(io.StringIO(metrics)), json.loads(conditions), tmp_path)
    assert (ROOT / "docs" / PAGE).read_text("utf-8") == (tmp_path / PAGE).read_text("utf-8")
    figures = {path.name for path in (tmp_path / Path(PAGE).stem).iterdir()}
    assert figures == {path.name for path in (ROOT / "docs" / Path(PAGE).stem).iterdir()}


def test_a_table_has_only_the_methods_of_its_preset(tmp_path: Path, params_yaml: dict[str, Any]) -> None:
    measured = ("floor", "scratch", "ewc", "lwf")
    summary = {name: {"task 1 a": {"miou": 1.0}} for name in measured}
    for preset in ("mini", "real", "paper", "own"):
        (tmp_path / preset).mkdir()
        (tmp_path / preset / "summary.json").write_text(json.dumps(summary), "utf-8")
    params_yaml["data_root"] = "/pictures"  # mini does not use it
    params_yaml["defaults"]["methods"] = ["scratch"]
    params_yaml["presets"]["real"]["methods"] = ["lwf", "scratch"]
    params_yaml["presets"]["paper"]["methods"] = "all"

    def headers() -> dict[str, list[str]]:
        tables_of_presets = tables(tmp_path, tmp_path / "longer", params_yaml)
        return {name: text.splitlines()[0].strip("| ").split(" | ")[2:] for name, text in tables_of_presets}

    assert headers() == {
        "mini": ["floor", "scratch"],
        "own": ["floor", "scratch"],
        "paper": [*measured],
        "real": ["floor", "scratch", "lwf"],
    }
    params_yaml["defaults"]["methods"] = ["all"]
    assert headers()["own"] == headers()["mini"] == [*measured]


@pytest.mark.parametrize("page", sorted(path.name for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]))
def test_links_lead_to_files(page: str) -> None:
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_paths_named_in_the_readme_exist() -> None:
    for name in re.findall(r"`((?:src|pipeline|docs|tests)/[\w./-]+)`", README):
        assert (ROOT / name).exists(), name


def test_code_outside_the_methods_names_no_method() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py"), *ROOT.rglob("pipeline/**/*.smk")]
    for path in sources:
        if "methods" not in path.parts:
            assert not re.search(r"\bif\s+(\w+\.)*method\s*==\s*[\"']", path.read_text("utf-8")), path


SETTINGS = sorted(
    path
    for path in (ROOT / "src").rglob("*.py")
    if path.stem in ("settings", "groups") or path.stem.endswith("_settings")
)


def undocumented(classes: Mapping[str, ast.ClassDef]) -> Iterator[str]:
    """Yield the fields of settings without a docstring of their own or of a base class."""
    documented: dict[str, set[str]] = {}
    fields: dict[str, list[str]] = {}
    for name, node in classes.items():
        fields[name], documented[name] = [], set()
        for item, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                fields[name].append(item.target.id)
                if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                    documented[name].add(item.target.id)

    def has_docstring(name: str, field: str) -> bool:
        bases = [base.id for base in classes[name].bases if isinstance(base, ast.Name) and base.id in classes]
        return field in documented[name] or any(has_docstring(base, field) for base in bases)

    return (f"{name}.{field}" for name in classes for field in fields[name] if not has_docstring(name, field))


def test_every_field_of_the_settings_has_a_docstring() -> None:
    nodes = [node for path in SETTINGS for node in ast.parse(path.read_text("utf-8")).body]
    classes = {node.name: node for node in nodes if isinstance(node, ast.ClassDef)}
    assert {"Settings", "TrainingSettings", "MaskSettings", "StyleSettings", "Columns"} <= classes.keys()
    assert not [*undocumented(classes)]


def test_a_field_without_a_docstring_is_noticed() -> None:
    source = 'class Base:\n    a: int\n    """A."""\n    b: int = 1\n\nclass Sub(Base):\n    a: bool\n    c: int\n'
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    assert [*undocumented(classes)] == ["Base.b", "Sub.c"]
