"""A study of three tasks on pictures of 32 pixels with a network of width 2: a training takes a moment."""

import copy
import itertools
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from palimpsest.data.arrays import Prepared
from palimpsest.interruption import Interruption
from palimpsest.jobs import training_job
from palimpsest.layout import Layout
from palimpsest.methods import BASES, METHODS, entry_of
from palimpsest.networks.resblock_settings import ResblockSettings
from palimpsest.networks.settings import NetworkSettings
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.params import read, resolve
from palimpsest.processes.parent import PARENT
from palimpsest.settings import Settings
from palimpsest.stage import SNAPSHOT
from tests.workers import ByFile, longest_first

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when PyTorch is imported: tests run side by side
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits that it is ignored

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32

hypothesis_settings.register_profile(
    "tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("tests")

CONTENT: dict[str, Any] = {
    "preset": "tiny",
    "defaults": {
        "methods": list(METHODS),
        "sequence": ["shapes", "halves", "colour"],
        "network": {"width": 2},
        "pictures": {"size": SIDE, "crop": SIDE},
        "training": {
            "steps": 6,
            "steps_per_epoch": 2,
            "batch_size": 4,
            "learning_rate": 0.01,
            "accelerator": "cpu",
        },
        "datasets": {"drawn": {"format": "coco", "source": "generated", "generate": {"train2017": 1}}},
        "tasks": {
            "shapes": {"kind": "segmentation", "data": "drawn", "classes": {"red": ["red"], "blue": ["blue"]}},
            "halves": {"kind": "segmentation", "data": "drawn", "classes": {"left": ["left"]}},
            "colour": {"kind": "colorization", "data": "drawn"},
        },
    },
    "presets": {"tiny": {}},
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    """For `--dist loadfile`, which knows nothing of folders; another choice is left to pytest-xdist."""
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker of pytest-xdist the longest tests come first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: longest_first(item.nodeid))


@pytest.fixture
def content() -> dict[str, Any]:
    """What a small params.yaml holds; the test's own copy."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process to which Ctrl-C came, where it is on its way out."""
    interruption = Interruption()
    interruption.last = 0.0
    monkeypatch.setattr("palimpsest.interruption._interruption", interruption)


@contextmanager
def job_in_this_process() -> Iterator[None]:
    """Puts back afterwards what a job changes: environment, log and handling of signals."""
    logger = logging.getLogger("palimpsest")
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    before = list(logger.handlers), logger.level, logger.propagate
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", os.environ["PATH"])
            for name in (SNAPSHOT, PARENT):
                patch.setenv(name, "")
                patch.delenv(name)
            yield
    finally:
        for number, handling in handlers.items():
            signal.signal(number, handling)
        for handler in set(logger.handlers) - set(before[0]):
            logger.removeHandler(handler)
            with suppress(OSError):  # of a log on a full disk
                handler.close()
        logger.level, logger.propagate = before[1:]


def nested(path: str, value: object) -> dict[str, Any]:
    """``a/b`` and a value as {a: {b: value}}."""
    for part in reversed(path.split("/")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """A disk on which a file can have so many bytes: a real one, since what is written fails in the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def params_file() -> dict[str, Any]:
    """What the repository's params.yaml holds, read once."""
    return read(ROOT / "params.yaml")


@pytest.fixture
def params_yaml(params_file: dict[str, Any]) -> dict[str, Any]:
    """What the repository's params.yaml holds; the test's own copy."""
    return copy.deepcopy(params_file)


@pytest.fixture(scope="session")
def prepared() -> dict[str, Prepared]:
    """Ten pictures per task, two of them for validation: coloured squares on noise."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 90, (10, SIDE, SIDE, 3), dtype=np.uint8)
    shapes = np.zeros((10, SIDE, SIDE), np.uint8)
    for number, (top, left) in enumerate(random.integers(2, 14, (10, 2))):
        window = (number, slice(top, top + 14), slice(left, left + 14))
        label = 1 + number % 2
        shapes[window] = label
        pictures[(*window, 2 * (label - 1))] = 230
    halves = np.zeros_like(shapes)
    halves[:, :, : SIDE // 2] = 1
    splits = ("train",) * 8 + ("val",) * 2
    sources = tuple(f"{number}.png" for number in range(10))
    targets = {"shapes": shapes, "halves": halves, "colour": None}
    return {task: Prepared(pictures, target, sources, splits, {}) for task, target in targets.items()}


@dataclass
class Study:
    """Settings, data and stored tasks of one small study in the working directory."""

    settings: Settings
    prepared: dict[str, Prepared]
    key: str = "key"
    histories: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=dict)
    networks: dict[tuple[str, str], Any] = field(default_factory=dict)
    """By method and task: what was told after the last epoch, and what was stored without a training."""

    @property
    def layout(self) -> Layout:
        return Layout(self.settings.preset)

    def stored(self, method: str) -> Any:
        from palimpsest.storage.stored_tasks import StoredTasks  # noqa: PLC0415 - many tests need no PyTorch

        return StoredTasks.of(self.settings, 0, method)

    def task(self, name: str) -> Any:
        from palimpsest.tasks import build_task  # noqa: PLC0415

        return build_task(name, self.settings.tasks[name])

    def tasks(self) -> list[Any]:
        return [self.task(name) for name in self.settings.sequence]

    def learn(
        self, method: str, task: str, on_epoch: Callable[[Any], None] | None = None, key: str | None = None
    ) -> Path:
        """Train and store one training, of which nothing remains to be recorded."""
        from palimpsest.training.loop import start_fabric  # noqa: PLC0415
        from palimpsest.training.task_training import checkpoint_of, learn  # noqa: PLC0415

        def note(history: Any) -> None:
            self.histories[method, task] = [dict(entry) for entry in history]
            if on_epoch is not None:
                on_epoch(history)

        job = training_job(self.settings, 0, method, task)
        fabric = start_fabric(job.training)
        path, *_ = learn(fabric, job, self.stored(method), self.prepared, key or self.key, note)
        checkpoint_of(path).unlink(missing_ok=True)  # none where a method only looked at the base task
        return path

    def learn_all(self, method: str, until: str | None = None) -> None:
        """Train every task of a method, up to one which is left out; the base network only where it is missing."""
        first, *others = self.settings.sequence
        entry = METHODS[method]
        if not entry.together and not self.stored(method).task_files.base.exists():
            if entry.base in BASES:
                self.learn(entry.base, first)
            else:
                self.learn_all(entry.base)
        tasks = [first] if entry.together else self.settings.sequence if entry.learns_base_task else others
        for task in tasks:
            if task == until:
                break
            self.learn(method, task)

    def store_untrained(self, method: str, task: str, change: Callable[[Any], None] = lambda network: None) -> None:
        """Store what a method leaves when it learns nothing, or what ``change`` does to the network.

        What it starts from is stored in the same way where it is missing.
        """
        import torch  # noqa: PLC0415

        from palimpsest.methods import build_method  # noqa: PLC0415
        from palimpsest.methods.base import Start  # noqa: PLC0415
        from palimpsest.storage.prediction_record import PredictionRecord, save_record  # noqa: PLC0415
        from palimpsest.storage.task_file import save_task  # noqa: PLC0415
        from palimpsest.tasks import build_task  # noqa: PLC0415
        from palimpsest.training.task_training import earlier, provenance, seed_of, starting_network  # noqa: PLC0415

        stored = self.stored(method)
        for path in stored.task_files.needed(task):
            if not path.exists():
                self.store_untrained(path.parent.name, path.stem)
        job = training_job(self.settings, 0, method, task)
        tasks = [build_task(trained.name, trained.settings) for trained in job.tasks]
        torch.manual_seed(seed_of(job, tasks[0].name))
        before = stored.task_files.before(tasks[0].name)
        network = starting_network(job, stored, before, tasks[0])
        learner = build_method(method, job.method_settings)
        looked_back = tuple(earlier(job, stored, before))
        learner.begin_task(Start(network, tasks[0], job.training, looked_back, together=tasks))
        change(network)
        learner.after_step(network, 1.0)
        any_data = next(iter(self.prepared.values()))
        for name in job.task_names:
            learner.set_active_task(network, name)
            origin = replace(provenance(job, name, stored, any_data, {}), commit="c0ffee", data_sha256="da7a")
            sha256 = save_task(self.layout.stored(0, method, name), learner.store(network), origin)
            recorded = PredictionRecord(method, name, 0, "unmeasured", 0, {}, sha256, "da7a", "32-true", {})
            save_record(self.layout.prediction_record(0, method, name), recorded)
            self.networks[method, name] = copy.deepcopy(network) if len(tasks) > 1 else network


def network_for(method: str, width: int) -> NetworkSettings:
    """Settings of the network that a method works on where the user chooses the U-Net."""
    blocks = entry_of(method).blocks
    return UNetSettings(width=width) if blocks is None else ResblockSettings(width=width, blocks=blocks)


NUMBER = itertools.count()


def small_study(prepared: dict[str, Prepared], **changes: Any) -> Study:
    """A study under a preset of its own, so that no test can be served with files that another one stored."""
    name = f"tiny-{next(NUMBER)}"
    content = {**copy.deepcopy(CONTENT), "preset": name, "presets": {name: changes}}
    return Study(resolve(content), prepared)


@pytest.fixture
def new_study(
    prepared: dict[str, Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """Makes a study with nothing stored yet, with the given settings laid over."""
    monkeypatch.chdir(tmp_path)
    return lambda **changes: small_study(prepared, **changes)


@pytest.fixture(scope="session")
def _trained(prepared: dict[str, Prepared], tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    folder = tmp_path_factory.mktemp("trained")
    study = small_study(prepared)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for method in METHODS:
            study.learn_all(method)
    return study, folder


@pytest.fixture
def trained(_trained: tuple[Study, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Study]:
    """A study in which every method has learned every task; only to be read. Its tests are slow ones."""
    study, folder = _trained
    monkeypatch.chdir(folder)
    yield study
