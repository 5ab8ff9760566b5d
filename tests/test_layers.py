"""Order of the modules: jobs import settings and not vice versa, and imports have no cycles."""

import subprocess
import sys

import grimp
import pytest

LAYERS = (
    "stage",
    "jobs",
    "settings",
    "composition_settings",
    "layout",
    "tasks",
    "methods",
    "methods.settings",
    "groups",
    "schema",
)
"""Modules of settings; each may import only those below it. `tasks` and `methods` are the tables."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("palimpsest", exclude_type_checking_imports=True, cache_dir=None)


def test_imports_have_no_cycles(graph: grimp.ImportGraph) -> None:
    circular = [
        module
        for module in graph.modules
        for name in graph.find_modules_directly_imported_by(module)
        if module in graph.find_upstream_modules(name)
    ]
    assert circular == []


@pytest.mark.parametrize("number", range(1, len(LAYERS)))
def test_a_layer_of_the_settings_imports_none_above_it(graph: grimp.ImportGraph, number: int) -> None:
    imported = graph.find_upstream_modules(f"palimpsest.{LAYERS[number]}")
    assert not imported & {f"palimpsest.{name}" for name in LAYERS[:number]}


def test_settings_and_jobs_import_no_pytorch() -> None:
    code = "import sys, palimpsest.jobs, palimpsest.params; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
