"""The installed package: complete, and usable without the study and its libraries."""

import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

import palimpsest
from tests.conftest import ROOT, Study

WITHOUT = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {hidden!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hiding, sys.meta_path)
from palimpsest.cli import main
sys.exit(main(["--debug", *sys.argv[1:]]))
"""
"""Program that runs the command line without some modules."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build source archive and wheel of the package; return the path of the wheel."""
    folder = tmp_path_factory.mktemp("package")
    listed = subprocess.run(
        ["git", "ls-files", "src", "pyproject.toml", "README.md", "LICENSE"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    for name in listed.splitlines():
        copy = folder / "source" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(folder / "source")]
    subprocess.run(build, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def needed() -> set[str]:
    """Return the names of the package's dependencies and of theirs, without extras."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    waiting, names = list(content["project"]["dependencies"]), set()
    while waiting:
        requirement = Requirement(waiting.pop())
        name = normalised(requirement.name)
        if name not in names and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            names.add(name)
            waiting += requires(name) or []
    return names


def normalised(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


@pytest.fixture
def bundle(new_study: Callable[..., Study], tmp_path: Path) -> Path:
    """Write a bundle of a study, and return its path."""
    from palimpsest.bundling import bundle_study  # noqa: PLC0415 - the other tests need no PyTorch

    study = new_study(sequence=["shapes", "colour"])
    study.store_untrained("piggyback", "colour")
    path = tmp_path / "tasks.safetensors"
    bundle_study(study.settings, 0, "piggyback").save(path)
    return path


@pytest.mark.slow
def test_the_archives_are_complete(wheel: Path) -> None:
    files = {name.removeprefix("src/") for name in tracked("src/palimpsest")}
    with zipfile.ZipFile(wheel) as archive:
        assert set(archive.namelist()) >= files
    (source,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {*(f"src/{name}" for name in files), "pyproject.toml", "README.md", "LICENSE"}
    subprocess.run([sys.executable, "-m", "check_wheel_contents", str(wheel)], check=True)


def tracked(folder: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["translate", "tasks.safetensors", "photo.png", "--task", "colour", "-o", "out"],
        ["inspect", "tasks.safetensors"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_bundle_needs_no_library_of_the_study(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    allowed = {*needed(), "palimpsest"}
    hidden = {
        module for module, names in packages_distributions().items() if not {*map(normalised, names)} & allowed
    }
    assert {"snakemake", "mlflow", "dvc", "pandas", "matplotlib", "pooch"} <= hidden
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "photo.png")
    program = [sys.executable, "-c", WITHOUT.format(hidden=hidden), *arguments]
    subprocess.run(program, cwd=tmp_path, check=True)


@pytest.mark.proof
def test_the_wheel_alone_translates_in_an_empty_environment(wheel: Path, bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "alone"
    venv.create(folder / ".venv", with_pip=True)
    constraint = ["--constraint", str(ROOT / "requirements.lock")]
    install = [str(folder / ".venv/bin/python"), "-I", "-m", "pip", "install", "--quiet", *constraint, str(wheel)]
    subprocess.run(install, check=True)
    bundle.rename(folder / bundle.name)
    Image.new("RGB", (40, 30), "teal").save(folder / "photo.jpg")
    command = [".venv/bin/palimpsest", "translate", bundle.name, "photo.jpg", "--task", "colour", "-o", "out"]
    subprocess.run(command, cwd=folder, check=True, env={"PATH": "/usr/bin:/bin"})
    assert Image.open(folder / "out/photo-colour.png").size == (40, 30)
    code = f"import palimpsest; palimpsest.open({bundle.name!r}).translate('colour', 'photo.jpg').save('two.png')"
    subprocess.run([".venv/bin/python", "-c", code], cwd=folder, check=True, env={"PATH": "/usr/bin:/bin"})
    assert (folder / "two.png").read_bytes() == (folder / "out/photo-colour.png").read_bytes()
    absent = [".venv/bin/python", "-c", "import importlib.util as u; assert u.find_spec('mlflow') is None"]
    subprocess.run(absent, cwd=folder, check=True)


def test_the_changelog_has_the_version() -> None:
    headings = re.findall(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == palimpsest.__version__
