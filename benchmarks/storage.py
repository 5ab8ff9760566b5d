"""Switching of tasks in memory compared with copying the weights, and loading of a coded task."""

import tempfile
from contextlib import chdir

import torch

from benchmarks.ratios import Ratio, paired, seconds, spread
from benchmarks.training import DEVICE, SEGMENTATION, segmentation
from palimpsest.groups import TrainingSettings
from palimpsest.layout import Layout
from palimpsest.methods import BASE, method_class
from palimpsest.methods.base import Start
from palimpsest.methods.coded import Coded
from palimpsest.methods.coded_settings import CodedSettings
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.storage.switcher import TaskSwitcher
from palimpsest.storage.task_file import Provenance, save_task

TASKS = ["first", "second", "third"]


def switch_milliseconds(rounds: int) -> Ratio:
    """Measure the milliseconds of a switch between masked tasks, at width 64."""
    switcher = random_switcher(64)
    return spread([1000 * seconds(lambda: switch_twice(switcher)) / 2 for _ in range(5 * rounds)], "ms, width 64")


def switch_vs_memcpy(rounds: int, width: int = 64) -> Ratio:
    """Measure the time of a switch between masked tasks ÷ the time of a copy of the weights."""
    switcher = random_switcher(width)
    flat = torch.cat([layer.weight.flatten() for _, layer in trunk_layers(switcher.network)])
    copy = torch.empty_like(flat)

    def memcpy() -> None:
        for _ in range(2):
            copy.copy_(flat)

    unit = f"time ÷ time of copying the weights, width {width}"
    return paired(lambda: switch_twice(switcher), memcpy, 5 * rounds, unit)


def switch_vs_memcpy_narrow(rounds: int) -> Ratio:
    """Measure the ratio of `switch_vs_memcpy` at the width of `mini`, where layers are small."""
    return switch_vs_memcpy(rounds, width=16)


def decode_milliseconds(rounds: int) -> Ratio:
    """Measure the milliseconds in which one core computes a task of `coded` at 0.12 bit per weight, at width 64.

    The integers are random, as many as fit.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = segmentation()
    network = build_network(UNetSettings(width=64), task.head_channels)
    base = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    method = Coded(CodedSettings())
    method.begin_task(Start(network, task, TrainingSettings()))
    with torch.no_grad():
        for layer in method.coded_layers(network):
            for latent in layer.latents.values():
                latent.normal_(std=0.35)
    method.after_step(network, method.settings.frozen_after)
    tensors = {name: tensor for part in method.store(network) for name, tensor in part.tensors.items()}
    loaded = build_network(UNetSettings(width=64), task.head_channels)
    times = [1000 * seconds(lambda: method.load_weights(loaded, base, tensors)) for _ in range(rounds)]
    return spread(times, "ms on one core, width 64")


def switch_twice(switcher: TaskSwitcher) -> None:
    """Switch to each of two masked tasks."""
    for name in TASKS[1:]:
        switcher.switch(name)


def random_switcher(width: int) -> TaskSwitcher:
    """Return a base network and two masked tasks in memory, all with random weights."""
    tasks = []
    for name in TASKS:
        task = segmentation()
        task.name = name
        tasks.append(task)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        return TaskSwitcher.of(stored_at_random(width), tasks, DEVICE)


def stored_at_random(width: int) -> StoredTasks:
    """Store a base network with random weights and two tasks with random masks; return the stored tasks.

    The files are written below the working directory.
    """
    layout, base = Layout("bench"), None
    network_settings = UNetSettings(width=width)
    for number, name in enumerate(TASKS):
        method = BASE if number == 0 else "piggyback"
        torch.manual_seed(0)
        task = segmentation()
        network = build_network(network_settings, task.head_channels)
        learner = method_class(method)(MaskSettings())
        (scores, _) = learner.begin_task(Start(network, task, TrainingSettings()))
        if number:
            torch.manual_seed(number)
            for score in scores.parameters:
                torch.nn.init.uniform_(score, 0, 1e-2)
        method_settings = MaskSettings() if number else None
        settings = {
            "method": method,
            "method_settings": method_settings and method_settings.model_dump(),
            "network": network_settings.model_dump(),
            "tasks": [{"name": name, "settings": SEGMENTATION.model_dump(), "pictures": {"size": 96}}],
        }
        base_file = f"../{BASE}/{TASKS[0]}.safetensors" if number else ""
        provenance = Provenance("bench", 0, method, name, settings, base, base_file)
        digest = save_task(layout.stored(0, method, name), learner.store(network), provenance)
        base = base or digest
    return StoredTasks(layout, 0, "piggyback", TASKS)
