"""Masks for classification beside masks for translation, over networks of several sizes."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from palimpsest.data.arrays import Prepared
from palimpsest.explaining.names import CLASSIFICATION, CLASSIFICATION_UNET, TRANSLATION
from palimpsest.explaining.workbench import Figures, Workbench, without_head
from palimpsest.inference import Predictor
from palimpsest.jobs import TrainingJob, training_job
from palimpsest.methods import BASE
from palimpsest.methods.base import load_into
from palimpsest.networks import build_network
from palimpsest.networks.base import Network
from palimpsest.networks.encoder_settings import EncoderSettings
from palimpsest.networks.settings import NetworkSettings
from palimpsest.networks.trunk import trunk_layers
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.tasks import KINDS, build_task
from palimpsest.tasks.classification_settings import ClassificationSettings
from palimpsest.tasks.segmentation_settings import SegmentationSettings
from palimpsest.training.task_training import seed_of


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

    The classes of both tasks are the same in both kinds. ``score`` is the metric of the second task, accuracy or
    mIoU, and ``floor`` that of the trivial baseline. Tasks of other kinds have no classes and no results; nor has a
    U-Net with another encoder than the study's.
    """
    base = training_job(bench.settings, bench.seed, BASE, bench.base_task)
    segmentations = all(isinstance(job.tasks[0].settings, SegmentationSettings) for job in (base, bench.job))
    if not segmentations or not is_of_study(bench.job.network):
        return
    for case in CASES:
        weights, figures = learned(bench, changed(base, case), changed(bench.job, case))
        yield Figures(case.condition, weights, figures)


def is_of_study(network: NetworkSettings) -> bool:
    """Return True for a U-Net with the encoder of the study."""
    return isinstance(network, UNetSettings) and not network.has_backbone


def learned(bench: Workbench, base_job: TrainingJob, mask_job: TrainingJob) -> tuple[int, dict[str, float]]:
    """Train a base network and a mask over it; return the number of weights, and the figures of `kinds`."""
    prepared = Prepared.open(bench.settings.layout.prepared(bench.base_task))
    base = bench.fit(base_job, prepared, network_of(base_job))
    network = network_of(mask_job)
    load_into(network, without_head(base))
    names = [f"{name}.weight" for name, _ in trunk_layers(network)]
    state = bench.fit(mask_job, bench.prepared, network)
    kept = torch.cat([(state[name] != 0).flatten() for name in names])
    task = build_task(mask_job.tasks[0].name, mask_job.tasks[0].settings)
    task.use_training_data(bench.prepared)
    plain = network_of(mask_job)
    load_into(plain, state)
    predictor = Predictor(plain.to(bench.fabric.device).eval(), task)
    assert bench.prepared.target is not None
    targets = bench.prepared.target[bench.prepared.rows("train")]
    key = KINDS[mask_job.tasks[0].settings.kind].key_metric
    score, floor = (bench.metrics(predict, task)[key] for predict in (predictor.predict, task.floor(targets)))
    zeros = 1 - float(kept.float().mean())
    return len(kept), {"zeros": zeros, "score": score / 100, "floor": floor / 100}


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
        assert isinstance(job.network, UNetSettings)
        network = EncoderSettings(width=width, padding=job.network.padding)
    return job.model_copy(update={"network": network, "tasks": (task,)})
