"""What README.md and docs/ claim."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from palimpsest.report.readme import table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def committed(path: str) -> str | None:
    """A file as git has it: a run of one's own changes the summary on the disk, which the README is not about."""
    done = subprocess.run(["git", "show", f":{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


@pytest.mark.parametrize("preset", ["mini", "real"])
def test_the_tables_are_those_of_the_summaries(preset: str) -> None:
    (shown,) = re.findall(rf"<!-- table:{preset} -->\n(.*?)<!-- /table:{preset} -->", README, re.DOTALL)
    summary = committed(f"results/{preset}/summary.json")
    assert shown == (table(json.loads(summary)) if summary else "")


@pytest.mark.parametrize("page", sorted(path.name for path in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]))
def test_links_lead_to_files(page: str) -> None:
    path = ROOT / page if page == "README.md" else ROOT / "docs" / page
    for target in re.findall(r"\]\(([^)#]+)", path.read_text("utf-8")):
        assert target.startswith("http") or (path.parent / target).exists(), target


def test_places_named_in_the_readme_exist() -> None:
    for name in re.findall(r"`((?:src|pipeline|docs|tests)/[\w./-]+)`", README):
        assert (ROOT / name).exists(), name


def test_no_method_is_treated_by_name_outside_the_methods() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py"), *ROOT.rglob("pipeline/**/*.smk")]
    for path in sources:
        if "methods" not in path.parts:
            assert not re.search(r"\bif\s+(\w+\.)*method\s*==\s*[\"']", path.read_text("utf-8")), path
