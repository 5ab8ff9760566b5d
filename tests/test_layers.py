"""The order of the modules: settings stand below the jobs cut from them, and nothing imports itself."""

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
    "methods.settings",
    "methods",
    "groups",
    "schema",
)
"""Modules of settings; each may import those below it alone. `tasks` and `methods` are the tables."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("palimpsest", exclude_type_checking_imports=True, cache_dir=None)


def test_no_module_imports_itself_by_way_of_others(graph: grimp.ImportGraph) -> None:
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


def test_settings_and_jobs_are_read_without_pytorch() -> None:
    code = "import sys, palimpsest.jobs, palimpsest.params; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
