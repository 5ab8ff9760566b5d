"""Fixtures: a small study with stored tasks of random weights, and a folder with links to it for each test."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

from palimpsest.jobs import training_job
from palimpsest.methods import BASE, method_class
from palimpsest.methods.base import Start
from palimpsest.methods.masks import Mask
from palimpsest.networks import build_network
from palimpsest.params import read, resolve
from palimpsest.settings import Settings
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.task_file import Provenance, save_task
from palimpsest.tasks import build_task

GENERATED = {"source": "generated", "format": "coco", "generate": {"train": 1, "val": 1}}
PARAMS = {
    "preset": "tiny",
    "seeds": [4],
    "defaults": {
        "methods": ["piggyback"],
        "sequence": ["classes", "colour", "painted"],
        "network": {"width": 2},
        "pictures": {"size": 32, "crop": 32},
        "datasets": {"any": GENERATED},
        "tasks": {
            "classes": {"kind": "segmentation", "data": "any", "classes": {"cat": ["cat"], "dog": ["dog"]}},
            "colour": {"kind": "colorization", "data": "any"},
            "painted": {"kind": "style", "data": "any", "picture": "painting.png", "perceptual": "random"},
        },
    },
    "presets": {"tiny": {}, "other": {}},
}


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a study with stored tasks of random weights and masks."""
    folder = tmp_path_factory.mktemp("study")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("params.yaml").write_text(yaml.safe_dump(PARAMS), encoding="utf-8")
        Image.new("RGB", (40, 40), "orange").save("painting.png")
        settings = resolve(read(Path("params.yaml")))
        base = store(settings, BASE, "classes", None)
        for name in settings.sequence[1:]:
            store(settings, "piggyback", name, base)
    return folder


@pytest.fixture(autouse=True)
def inside(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in a new folder with links to the study."""
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "painting.png", "models"):
        Path(name).symlink_to(study / name)


def store(settings: Settings, method_name: str, name: str, network_sha256: str | None) -> str:
    task = build_task(name, settings.tasks[name])
    job = training_job(settings, 4, method_name, name)
    torch.manual_seed(0)
    stored = StoredTasks.of(settings, 4, "piggyback")
    if network_sha256 is None:
        network: nn.Module = build_network(settings.network, task.head_channels)
    else:
        network = stored.network("classes")
        network.head = build_network(settings.network, task.head_channels).head
    method = method_class(method_name)(job.method_settings)
    method.begin_task(Start(network, task, job.training))
    for module in network.modules():
        if isinstance(module, Mask):
            nn.init.uniform_(module.score, 0, 0.02)
    base_file = "../base/classes.safetensors" if network_sha256 else ""
    values = job.model_dump(mode="json")
    provenance = Provenance("tiny", 4, method_name, name, values, network_sha256, base_file)
    return save_task(settings_path(settings, method_name, name), method.store(network), provenance)


def settings_path(settings: Settings, method: str, task: str) -> Path:
    return StoredTasks.of(settings, 4, method).layout.stored(4, method, task)


def picture(name: str, width: int, height: int) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(name)
    return name


def size(name: str) -> tuple[int, int]:
    with Image.open(name) as opened:
        assert (opened.format, opened.mode) == ("PNG", "P" if "-classes" in name else "RGB")
        return opened.size


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]
