"""The installed package: complete, and usable without the study and its libraries."""

import ast
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

import palimpsest
from palimpsest.data.generated import generate_coco
from tests.conftest import ROOT, Study

WITHOUT = """
import sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def __getattr__(self, name):
        return getattr(self.finder, name)
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {hidden!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Hiding, sys.meta_path)
from palimpsest.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""Program that runs the command line without some modules."""
COMMANDS = {
    "translate": ["translate", "tasks.safetensors", "photo.png", "--task", "colour", "-o", "out"],
    "inspect": ["inspect", "tasks.safetensors"],
    "add-task": shlex.split(
        "add-task tasks.safetensors --name new --kind paired --input inputs --target targets --steps 2 "
        "-o more.safetensors"
    ),
    "evaluate": ["evaluate", "tasks.safetensors", "--task", "colour", "--data", "coco"],
}
"""Commands on a bundle, on the files of `write_files`."""


def write_files(folder: Path) -> None:
    """Write a picture, pairs of pictures and a folder in the layout of COCO."""
    Image.new("RGB", (40, 30), "teal").save(folder / "photo.png")
    for name in ("inputs", "targets"):
        (folder / name).mkdir()
        for number in range(4):
            Image.new("RGB", (40, 30), (60 * number, 90, len(name))).save(folder / name / f"{number}.png")
    generate_coco(folder / "coco", {"train2017": 2, "val2017": 3}, 40, 0)


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
@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_bundle_needs_no_library_of_the_study(bundle: Path, tmp_path: Path, arguments: list[str]) -> None:
    write_files(tmp_path)
    run_alone(tmp_path, arguments, check=True)


@pytest.mark.slow
def test_a_missing_library_of_an_extra_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "results/mini").mkdir(parents=True)
    (tmp_path / "results/mini/metrics.csv").touch()
    ended = run_alone(tmp_path, ["inspect", "results/mini/metrics.csv"], options=[])
    assert ended.returncode == 1
    assert ended.stderr == "error: pandas: is not installed; run: pip install 'palimpsest[pipeline]'\n"


def run_alone(
    folder: Path, arguments: list[str], options: Sequence[str] = ("--debug",), *, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder without the modules that the package's dependencies do not install."""
    allowed = {*needed(), "palimpsest"}
    hidden = {
        module for module, names in packages_distributions().items() if not {*map(normalised, names)} & allowed
    }
    assert {"snakemake", "mlflow", "dvc", "pandas", "matplotlib", "pooch", "requests"} <= hidden
    program = [sys.executable, "-c", WITHOUT.format(hidden=hidden), *options, *arguments]
    return subprocess.run(program, cwd=folder, check=check, capture_output=True, text=True)


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
    write_files(folder)
    for name in ("inspect", "add-task", "evaluate"):
        command = [".venv/bin/palimpsest", *COMMANDS[name]]
        subprocess.run(command, cwd=folder, check=True, env={"PATH": "/usr/bin:/bin"})
    absent = [".venv/bin/python", "-c", "import importlib.util as u; assert u.find_spec('mlflow') is None"]
    subprocess.run(absent, cwd=folder, check=True)


def test_every_imported_package_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    declared = {normalised(Requirement(text).name) for text in [*project["dependencies"], *extras]}
    of_module = packages_distributions()
    imported = {
        name.partition(".")[0]
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for name in imported_names(node)
    }
    foreign = imported - sys.stdlib_module_names - {"palimpsest"}
    assert "requests" in foreign
    assert {name for name in foreign if not {*map(normalised, of_module.get(name, []))} & declared} == set()


def imported_names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


def test_the_changelog_has_the_version() -> None:
    headings = re.findall(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == palimpsest.__version__
