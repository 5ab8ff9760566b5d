"""Networks, masks, trainings and measurements of one task and seed, which the experiments share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from palimpsest.analysis.measurement import measure
from palimpsest.data.arrays import Prepared
from palimpsest.devices import with_precision
from palimpsest.explaining import MASKED
from palimpsest.inference import Predictor
from palimpsest.jobs import TrainingJob, training_job
from palimpsest.methods import method_class
from palimpsest.methods.base import MASK, ParameterGroup, Start, State, load_into, with_multipliers
from palimpsest.methods.compact import unfold
from palimpsest.methods.masks import unpack
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.networks import build_network
from palimpsest.networks.base import Network
from palimpsest.networks.trunk import head_state, normalisation_layers, output_channels, trunk_layers
from palimpsest.settings import REFERENCE, Settings
from palimpsest.storage.stored_tasks import StoredTasks
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Batch, Task
from palimpsest.training.loop import Plan, start_fabric, train
from palimpsest.training.task_training import passes, seed_of, starting_network, task_data_of

STATISTICS_BATCHES = 16
"""Training batches from which statistics of BatchNorm and gradients are computed."""

Bits = Mapping[str, Tensor]
"""Mask by layer, bool in the shape of the weight; True for a weight that the task uses."""


class Row(NamedTuple):
    """Result of an experiment under one condition."""

    condition: str
    x: float | str
    """Position on the horizontal axis of the figure: a number, or the name of a task."""
    state: State
    """Network to measure: tensors by name, with the head of the task."""


class Figures(NamedTuple):
    """Result of an experiment that measures no network."""

    condition: str
    x: float | str
    """Position on the horizontal axis of the figure, as in `Row`."""
    metrics: dict[str, float]


@dataclass
class Workbench:
    """One task of a study with masks: its stored networks, and trainings and measurements beside them."""

    settings: Settings
    seed: int
    name: str
    """Name of the task."""

    @cached_property
    def job(self) -> TrainingJob:
        """Settings of the task's training by masks."""
        return self.job_of(MASKED)

    def job_of(self, method: str) -> TrainingJob:
        """Return the settings of the task's training by a method."""
        job = training_job(self.settings, self.seed, method, self.name)
        return job.model_copy(update={"training": with_precision(job.training)})

    @cached_property
    def fabric(self) -> Fabric:
        """Device and precision of trainings and measurements."""
        return start_fabric(self.job.training)

    @cached_property
    def prepared(self) -> Prepared:
        """Data of the task."""
        return Prepared.open(self.settings.layout.prepared(self.name))

    @cached_property
    def task(self) -> Task:
        """The task itself."""
        task = build_task(self.name, self.job.tasks[0].settings)
        task.use_training_data(self.prepared)
        return task.to(self.fabric.device)

    @property
    def base_task(self) -> str:
        """Task that trained the base network."""
        return self.settings.base_task

    @property
    def tasks(self) -> list[str]:
        """All tasks, in the order of the sequence."""
        return self.settings.sequence

    @property
    def earlier_masks(self) -> list[str]:
        """Tasks with a mask that come before the task in the sequence."""
        order = self.tasks.index(self.name)
        return [task for task in self.tasks[:order] if task != self.base_task]

    def trained_on(self, task: str) -> State:
        """Return the tensors of the network that `scratch` trained for ``task``."""
        return self.stored(REFERENCE, task)

    @cached_property
    def base(self) -> State:
        """Tensors of the base network."""
        return self.stored(MASKED, self.base_task)

    @cached_property
    def untrained(self) -> State:
        """Tensors of a network before any training, with the initial weights of the settings."""
        torch.manual_seed(seed_of(self.job, self.base_task))
        network = build_network(self.job.network, self.task.head_channels)
        if self.job.network.initial_weights is not None:
            network.load_initial(self.job.network.initial_weights)
        return network.state_dict()

    def stored(self, method: str, task: str) -> State:
        """Return the tensors of a stored task's network, as it computes, on the CPU like all tensors here.

        A mask of this task comes with BatchNorm whose statistics are not folded into scale and shift.
        """
        network = StoredTasks.of(self.settings, self.seed, method).network(task).to(self.fabric.device)
        if task == self.name:
            unfold(network, (self.task.inputs(batch) for batch in self.batches()))
        return on_cpu(network.state_dict())

    @cached_property
    def filter_dimensions(self) -> dict[str, int]:
        """Dimension of the output channels in the weight of each layer of the trunk."""
        return {name: output_channels(layer) for name, layer in trunk_layers(self.network(self.base))}

    def bits(self, task: str) -> Bits:
        """Return the mask of a task over the base network; ones for the task that trained it."""
        shapes = {name: self.base[f"{name}.weight"].shape for name in self.filter_dimensions}
        if task == self.base_task:
            return {name: torch.ones(shape, dtype=torch.bool) for name, shape in shapes.items()}
        file = StoredTasks.of(self.settings, self.seed, MASKED).open(task)
        (mask,) = (component for component in file.components if component.name == MASK)
        return {name: unpack(bits, shapes[name]) for name, bits in mask.mask_bits.items()}

    def unmasked(self) -> State:
        """Return BatchNorm and head of the task with the base's weights."""
        return with_weights(self.stored(MASKED, self.name), self.weights())

    def weights(self) -> dict[str, Tensor]:
        """Return the weight of each layer of the base, by layer."""
        return {name: self.base[f"{name}.weight"] for name in self.filter_dimensions}

    def network(self, state: State) -> Network:
        """Build a network in evaluation mode with these tensors; their head decides its width."""
        network = build_network(self.job.network, len(state["head.weight"]))
        load_into(network, state)
        return network.to(self.fabric.device).eval()

    def measure(self, state: State) -> dict[str, float]:
        """Return the metrics of a network on the split that the study reports."""
        return self.metrics(Predictor(self.network(state), self.task).predict, self.task)

    def metrics(self, predict: Callable[[Batch], Tensor], task: Task) -> dict[str, float]:
        """Return the metrics of predictions for a task on this task's data; see `measure`."""
        measured = measure(predict, task, self.prepared, self.fabric.device, 0, self.job.split, with_errors=False)
        return measured.metrics

    def learn(
        self,
        method: str,
        start: State,
        *,
        fixed_normalisation: bool = False,
        seed: int | None = None,
        equal_scores: bool = False,
    ) -> State:
        """Train the task by a method over the tensors ``start``, with a new head; return the network's tensors.

        Settings, batches and first head are those of the method's training in the study; ``seed`` gives other
        batches and another head. With ``fixed_normalisation`` the normalisation layers keep parameters and
        statistics of ``start``. With ``equal_scores`` all scores of a mask start at the same value, so that the
        magnitudes of the weights have no part in the start of the training.
        """
        job = self.job_of(method)
        if seed is not None:
            job = job.model_copy(update={"seed": seed})
        if equal_scores:
            assert isinstance(job.method_settings, MaskSettings)
            settings = job.method_settings.model_copy(update={"start": "constant"})
            job = job.model_copy(update={"method_settings": settings})
        torch.manual_seed(seed_of(job, self.name))
        network = starting_network(job, StoredTasks.of(self.settings, self.seed, method), [], self.task)
        if self.name == self.base_task:  # the base network's head has learned this task
            load_into(network, head_state(build_network(job.network, self.task.head_channels)))
        load_into(network, without_head(start))
        return self.fit(job, self.prepared, network, fixed_normalisation=fixed_normalisation)

    def fit(
        self, job: TrainingJob, prepared: Prepared, network: Network, *, fixed_normalisation: bool = False
    ) -> State:
        """Train a network by the settings of a job, in place; return the tensors that it computes with.

        For ``fixed_normalisation`` see `learn`.
        """
        learner, data = method_class(job.method)(job.method_settings), task_data_of(job, job.tasks[0], prepared)
        begun = learner.begin_task(
            Start(network, data.task, job.training, batches=lambda: passes(job, job.tasks[0], prepared))
        )
        groups, training = with_multipliers(begun, network, job.training), job.training
        if fixed_normalisation:
            groups = without_normalisation(groups, network)
            training = training.model_copy(update={"batchnorm_frozen": 1.0})
        with TemporaryDirectory() as folder:
            plan = Plan(training, Path(folder) / "checkpoint", "")
            train(self.fabric, network, learner, groups, [data], plan)
        return on_cpu(learner.plain_state(network))

    def with_statistics(self, state: State) -> State:
        """Return the tensors with statistics of BatchNorm over training pictures, layer by layer as they compute.

        The statistics are means over `STATISTICS_BATCHES` batches. Networks whose normalisation has no statistics
        stay as they are.
        """
        network = self.network(state)
        for _, layer in normalisation_layers(network):
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.reset_running_stats()
                layer.momentum = None  # a cumulative mean
                layer.train()
        with torch.no_grad():
            for batch in self.batches():
                network(self.task.inputs(batch))
        return on_cpu(network.state_dict())

    def gradients(self, state: State) -> dict[str, Tensor]:
        """Return the gradient of the task's loss for each layer's weight, summed over training batches."""
        network = self.network(state)
        weights = {name: layer.weight for name, layer in trunk_layers(network)}
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for batch in self.batches():
            prediction = self.task.prediction(network(self.task.inputs(batch)), batch)
            loss = self.task.losses(prediction, batch)["loss"]
            gradients = torch.autograd.grad(loss, [*weights.values()], allow_unused=True)
            for name, gradient in zip(weights, gradients, strict=True):
                if gradient is not None:
                    sums[name] += gradient
        return on_cpu(sums)

    def batches(self) -> list[dict[str, Tensor]]:
        """Return the first training batches of the task, on the device."""
        batches = zip(range(STATISTICS_BATCHES), passes(self.job, self.job.tasks[0], self.prepared), strict=False)
        return [{key: value.to(self.fabric.device) for key, value in batch.items()} for _, batch in batches]

    def random(self, *purpose: object) -> torch.Generator:
        """Return a generator of random numbers, the same for the same seed, task and purpose."""
        return torch.Generator().manual_seed(seed_of(self.job, "/".join(map(str, (self.name, *purpose)))))


def on_cpu(tensors: State) -> dict[str, Tensor]:
    """Return copies of tensors on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def masked(state: State, bits: Bits) -> dict[str, Tensor]:
    """Return the tensors with the weights of each layer multiplied by its mask."""
    return with_weights(
        state, {name: torch.where(kept, state[f"{name}.weight"], 0.0) for name, kept in bits.items()}
    )


def with_weights(state: State, weights: State) -> dict[str, Tensor]:
    """Return the tensors with other weights of layers; ``weights`` has them by layer."""
    return {**state, **{f"{name}.weight": weight for name, weight in weights.items()}}


def without_head(state: State) -> dict[str, Tensor]:
    """Return the tensors without those of the head."""
    return {name: tensor for name, tensor in state.items() if not name.startswith("head.")}


def without_normalisation(groups: list[ParameterGroup], network: nn.Module) -> list[ParameterGroup]:
    """Return the groups without the parameters of normalisation layers."""
    kept = {id(parameter) for _, layer in normalisation_layers(network) for parameter in layer.parameters()}
    rest = [
        replace(group, parameters=[parameter for parameter in group.parameters if id(parameter) not in kept])
        for group in groups
    ]
    return [group for group in rest if group.parameters]
