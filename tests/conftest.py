"""Fixtures: a small study of three tasks on pictures of 32 pixels with a network of width 2."""

import copy
import itertools
import logging
import os
import resource
import signal
import sys
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
from palimpsest.methods import BASES, METHODS, entry_of, method_class
from palimpsest.networks import network_settings
from palimpsest.networks.settings import NetworkSettings
from palimpsest.params import read, resolve
from palimpsest.processes.parent import PARENT
from palimpsest.settings import Settings
from palimpsest.stage import SNAPSHOT
from tests.workers import ByFile, longest_first

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in parallel; read when PyTorch is imported
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by default in a shell's background job

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
        # The default size does not pay the counts of so few integers, and the default rate needs more steps.
        "method_settings": {"coded": {"bits": 16.0, "learning_rate": 0.5}},
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
    """Return the scheduler for `--dist loadfile`; pytest-xdist schedules its other modes itself."""
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the longest tests first in a worker of pytest-xdist."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: longest_first(item.nodeid))


def pytest_runtest_setup() -> None:
    """Seed PyTorch before each test: which numbers it draws shall not depend on the tests before it."""
    if "torch" in sys.modules:  # tests of what works without PyTorch do not import it
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def content() -> dict[str, Any]:
    """Return a copy of a small params.yaml."""
    return copy.deepcopy(CONTENT)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a process that has received Ctrl-C and is about to end."""
    interruption = Interruption()
    interruption.last_time = 0.0
    monkeypatch.setattr("palimpsest.interruption._interruption", interruption)


@contextmanager
def job_in_this_process() -> Iterator[None]:
    """Restore environment, logger and signal handlers after a job in this process."""
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
            with suppress(OSError):  # log on a full disk
                handler.close()
        logger.level, logger.propagate = before[1:]


def nested(path: str, value: object) -> dict[str, Any]:
    """Return {a: {b: value}} for the path ``a/b`` and a value."""
    for part in reversed(path.split("/")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Limit the size of files to so many bytes; the kernel refuses larger writes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the root of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def params_file() -> dict[str, Any]:
    """Return the content of the repository's params.yaml, read once."""
    return read(ROOT / "params.yaml")


@pytest.fixture
def params_yaml(params_file: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of the repository's params.yaml."""
    return copy.deepcopy(params_file)


@pytest.fixture(scope="session")
def prepared() -> dict[str, Prepared]:
    """Return ten pictures per task, two of them for validation: coloured squares on noise."""
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
    """Settings, data and stored tasks of a small study in the working directory."""

    settings: Settings
    prepared: dict[str, Prepared]
    key: str = "key"
    histories: dict[tuple[str, str], list[dict[str, float]]] = field(default_factory=dict)
    """Epochs of the last training by method and task."""
    networks: dict[tuple[str, str], Any] = field(default_factory=dict)
    """Networks stored without training, by method and task."""

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
        """Run one training, store its tasks and remove its checkpoint."""
        from palimpsest.training.loop import start_fabric  # noqa: PLC0415
        from palimpsest.training.task_training import checkpoint_of, learn  # noqa: PLC0415

        def note(history: Any) -> None:
            self.histories[method, task] = [dict(entry) for entry in history]
            if on_epoch is not None:
                on_epoch(history)

        job = training_job(self.settings, 0, method, task)
        fabric = start_fabric(job.training)
        path, *_ = learn(fabric, job, self.stored(method), self.prepared, key or self.key, note)
        checkpoint_of(path).unlink(missing_ok=True)  # a method that only measures the base task writes none
        return path

    def learn_all(self, method: str, until: str | None = None) -> None:
        """Train all tasks of a method before `until`; train the base network if it is missing."""
        first, *later = self.settings.sequence
        entry = METHODS[method]
        if not entry.together and not self.stored(method).task_files.base.exists():
            if entry.base_training in BASES:
                self.learn(entry.base_training, first)
            else:
                self.learn_all(entry.base_training)
        tasks = [first] if entry.together else self.settings.sequence if entry.learns_base_task else later
        for task in tasks:
            if task == until:
                break
            self.learn(method, task)

    def store_untrained(self, method: str, task: str, change: Callable[[Any], None] = lambda network: None) -> None:
        """Store a task of a method without training, after ``change`` has modified the network.

        Missing tasks that it starts from are stored in the same way.
        """
        import torch  # noqa: PLC0415

        from palimpsest.methods.base import Start  # noqa: PLC0415
        from palimpsest.storage.prediction_record import PredictionRecord, save_record  # noqa: PLC0415
        from palimpsest.storage.task_file import save_task  # noqa: PLC0415
        from palimpsest.tasks import build_task  # noqa: PLC0415
        from palimpsest.training.task_training import earlier, provenance, seed_of, starting_network  # noqa: PLC0415

        stored = self.stored(method)
        for path in stored.task_files.starting_files(task):
            if not path.exists():
                self.store_untrained(path.parent.name, path.stem)
        job = training_job(self.settings, 0, method, task)
        tasks = [build_task(trained.name, trained.settings) for trained in job.tasks]
        torch.manual_seed(seed_of(job, tasks[0].name))
        before = stored.task_files.earlier_tasks(tasks[0].name)
        network = starting_network(job, stored, before, tasks[0])
        learner = method_class(method)(job.method_settings)
        earlier_tasks = tuple(earlier(job, stored, before))
        learner.begin_task(Start(network, tasks[0], job.training, earlier_tasks, together=tasks))
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
    """Return the network settings of a method in a study whose user chooses the U-Net."""
    return network_settings({"width": width, **(entry_of(method).network or {"name": "unet"})})


NUMBER = itertools.count()


def small_study(prepared: dict[str, Prepared], **changes: Any) -> Study:
    """Return a study with its own preset, so that tests cannot share stored files."""
    name = f"tiny-{next(NUMBER)}"
    content = {**copy.deepcopy(CONTENT), "preset": name, "presets": {name: changes}}
    return Study(resolve(content), prepared)


@pytest.fixture
def new_study(
    prepared: dict[str, Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """Return a function that makes an empty study; its arguments override settings."""
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
    """Yield a study in which every method has learned every task; read-only. Mark its tests slow."""
    study, folder = _trained
    monkeypatch.chdir(folder)
    yield study
