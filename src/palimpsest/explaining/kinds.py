"""Masks for classification beside masks for translation, over networks of several sizes."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from palimpsest.data.arrays import Prepared
from palimpsest.explaining.workbench import Figures, Workbench, without_head
from palimpsest.jobs import TrainingJob, training_job
from palimpsest.methods import BASE
from palimpsest.methods.base import load_into
from palimpsest.networks import build_network
from palimpsest.networks.base import Network
from palimpsest.networks.encoder_settings import EncoderSettings
from palimpsest.networks.settings import NetworkSettings
from palimpsest.networks.trunk import trunk_layers
from palimpsest.tasks import build_task
from palimpsest.tasks.classification_settings import ClassificationSettings
from palimpsest.tasks.segmentation_settings import SegmentationSettings
from palimpsest.training.task_training import seed_of

TRANSLATION, CLASSIFICATION, CLASSIFICATION_UNET = (
    "segmentation",
    "classification",
    "classification by the same network",
)


class Case(NamedTuple):
    """Base network to train, and the kind of both tasks."""

    condition: str
    classifies: bool
    encoder_alone: bool
    factor: float
    """Width of the network, as a multiple of the study's."""


CASES = (
    Case(TRANSLATION, classifies=False, encoder_alone=False, factor=0.5),
    Case(TRANSLATION, classifies=False, encoder_alone=False, factor=1.0),
    Case(CLASSIFICATION, classifies=True, encoder_alone=True, factor=0.5),
    Case(CLASSIFICATION, classifies=True, encoder_alone=True, factor=1.0),
    Case(CLASSIFICATION, classifies=True, encoder_alone=True, factor=1.25),  # as many weights as the U-Net
    Case(CLASSIFICATION_UNET, classifies=True, encoder_alone=False, factor=1.0),
)


def kinds(bench: Workbench) -> Iterator[Figures]:
    """Learn base task and task as segmentations and as classifications, and count the zeros of the second's mask.

    The classes of both tasks are the same in both kinds. Tasks of other kinds have no classes and no results.
    """
    base = training_job(bench.settings, bench.seed, BASE, bench.base_task)
    if not all(isinstance(job.tasks[0].settings, SegmentationSettings) for job in (base, bench.job)):
        return
    for case in CASES:
        weights, zeros = zeros_of(bench, changed(base, case), changed(bench.job, case))
        yield Figures(case.condition, weights, {"zeros": zeros})


def zeros_of(bench: Workbench, base_job: TrainingJob, mask_job: TrainingJob) -> tuple[int, float]:
    """Train a base network and a mask over it; return the number of weights, and the share of zeros."""
    prepared = Prepared.open(bench.settings.layout.prepared(bench.base_task))
    base = bench.fit(base_job, prepared, network_of(base_job))
    network = network_of(mask_job)
    load_into(network, without_head(base))
    names = [f"{name}.weight" for name, _ in trunk_layers(network)]
    learned = bench.fit(mask_job, bench.prepared, network)
    kept = torch.cat([(learned[name] != 0).flatten() for name in names])
    return len(kept), 1 - float(kept.float().mean())


def network_of(job: TrainingJob) -> Network:
    """Build the network of a training with random weights."""
    torch.manual_seed(seed_of(job, job.tasks[0].name))
    return build_network(job.network, build_task(job.tasks[0].name, job.tasks[0].settings).head_channels)


def changed(job: TrainingJob, case: Case) -> TrainingJob:
    """Return a training with the network and the kind of task of a case."""
    (task,) = job.tasks
    if case.classifies:
        assert isinstance(task.settings, SegmentationSettings)
        settings = ClassificationSettings(
            kind="classification", data=task.settings.data, classes=task.settings.classes
        )
        task = task.model_copy(update={"settings": settings})
    width = max(1, round(case.factor * job.network.width))
    network: NetworkSettings = job.network.model_copy(update={"width": width})
    if case.encoder_alone:
        network = EncoderSettings(width=width)
    return job.model_copy(update={"network": network, "tasks": (task,)})
