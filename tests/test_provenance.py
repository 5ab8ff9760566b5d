import ast
import shutil
import subprocess
from pathlib import Path

import pytest

from palimpsest import provenance
from palimpsest.methods import BASE, METHODS
from palimpsest.provenance import TABLES, digest, file_of, git, sources, stage_sources
from palimpsest.tasks import KINDS

SOURCE = "src/palimpsest"


@pytest.fixture(autouse=True)
def in_the_repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))


def test_a_stage_runs_its_own_file_and_what_it_imports_at_any_distance() -> None:
    found = sources(["pipeline.train"])
    assert {
        "pipeline/train.py",
        f"{SOURCE}/training/lesson.py",
        f"{SOURCE}/training/loop.py",
        f"{SOURCE}/storage/atomic.py",
        f"{SOURCE}/errors.py",
    } <= set(found)
    assert found == sorted(set(found)) and all(Path(name).is_file() for name in found)


def test_the_packages_around_a_module_are_run_too() -> None:
    found = sources(["palimpsest.metrics.pictures"])
    assert found == [f"{SOURCE}/__init__.py", f"{SOURCE}/metrics/__init__.py", f"{SOURCE}/metrics/pictures.py"]


def test_what_the_packages_around_a_module_import_is_run_too() -> None:
    found = sources(["palimpsest.networks.perceptual"])
    assert {f"{SOURCE}/networks/__init__.py", f"{SOURCE}/networks/unet.py", f"{SOURCE}/settings.py"} <= set(found)


def test_what_a_stage_does_not_import_is_not_among_its_sources() -> None:
    found = set(sources(["pipeline.train"]))
    for absent in ("report/page.py", "analysis/sizes.py", "data/generated.py", "data/download.py"):
        assert (Path(SOURCE) / absent).exists() and f"{SOURCE}/{absent}" not in found
    assert f"{SOURCE}/training/loop.py" not in sources(["pipeline.prepare"])


def test_imports_for_the_type_checker_alone_do_not_count() -> None:
    tracking = ast.parse(Path(f"{SOURCE}/tracking.py").read_text("utf-8"))
    assert "palimpsest.analysis.forgetting" in {
        n.module for n in ast.walk(tracking) if isinstance(n, ast.ImportFrom)
    }
    assert f"{SOURCE}/analysis/forgetting.py" not in sources(["palimpsest.tracking"])


BUILT_ON = {
    "ewc": ["fine-tune"],
    "lwf": ["fine-tune"],
    "piggyback-ternary": ["piggyback"],
    "piggyback-affine": ["piggyback"],
    "piggyback-resblock": ["piggyback"],
    "resblock6": ["decoder"],
    "resblock9": ["decoder"],
}
"""Methods whose code is that of another and a little more."""


@pytest.mark.parametrize("method", [BASE, *METHODS])
def test_a_training_depends_on_its_own_method_and_what_that_is_built_on(method: str) -> None:
    files = {name: file_of(entry.path.partition(":")[0]).as_posix() for name, entry in METHODS.items()}
    found = set(stage_sources("train", [method], ["segmentation"]))
    own = files["scratch" if method == BASE else method]
    assert found & set(files.values()) == {own, *(files[name] for name in BUILT_ON.get(method, ()))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_depends_on_its_own_kind_of_task_and_on_no_other(kind: str) -> None:
    files = {name: file_of(path.partition(":")[0]).as_posix() for name, path in KINDS.items()}
    found = set(stage_sources("train", ["scratch"], [kind]))
    also = {files["paired"]} if kind == "reconstruction" else set()  # which is a picture paired with itself
    assert found & set(files.values()) == {files[kind], *also}


def test_every_module_is_run_by_a_stage_of_the_pipeline_by_the_command_line_or_by_programs_of_ones_own() -> None:
    stages = [path.stem for path in Path("pipeline").glob("*.py") if path.stem != "__init__"]
    reached = {name for stage in stages for name in stage_sources(stage, METHODS, KINDS)}
    reached |= set(sources(["palimpsest.cli", "palimpsest.machine", "palimpsest.storage.resident"]))
    reached |= {file_of(table).as_posix() for table in TABLES}
    assert {path.as_posix() for path in Path(SOURCE).rglob("*.py")} - reached == set()


def test_the_file_of_a_module_and_of_a_package() -> None:
    assert file_of("palimpsest.methods") == Path(SOURCE, "methods", "__init__.py")
    assert file_of("palimpsest.methods.masks") == Path(SOURCE, "methods", "masks.py")
    assert file_of("pipeline.train") == Path("pipeline", "train.py")


def test_a_digest_is_over_the_text_and_the_content_of_files_in_their_order(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    digests = {digest("a", [one, two]), digest("b", [one, two]), digest("a", [two, one]), digest("a", [one])}
    assert len(digests) == 4
    shutil.copy(one, tmp_path / "copy")
    assert digest("a", [tmp_path / "copy", str(two)]) == digest("a", [one, two])


def test_git_tells_the_commit_and_is_silent_outside_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git("rev-parse", "HEAD") is None
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *command], check=True)
    commit = git("rev-parse", "HEAD")
    assert commit is not None and len(commit) == 40
    asked_anew = provenance.code_version.__wrapped__
    assert asked_anew() == commit
    (tmp_path / "params.yaml").touch()  # no code
    assert asked_anew() == commit
    for name in ("Snakefile", "requirements.lock"):
        (tmp_path / name).touch()
        assert asked_anew() == f"{commit}-dirty"
        (tmp_path / name).unlink()
    monkeypatch.setattr(provenance.subprocess, "run", missing)
    assert git("rev-parse", "HEAD") is None
    assert asked_anew() == ""


def missing(*arguments: object, **options: object) -> None:
    raise FileNotFoundError("git")
