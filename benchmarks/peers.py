"""Our training against Avalanche, and our masks against the layer of the original Piggyback.

`make peers` runs these benchmarks in an environment of their own, `.venv-peers`, because Avalanche is no dependency
of the project. All loops train the same network on the same pictures in memory with the same optimiser, in float32,
because the peers have no other precision here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.ratios import Ratio, paired
from benchmarks.training import (
    BATCH,
    BATCHED,
    CLASSES,
    DEVICE,
    FULL,
    SMALL,
    STEPS,
    Step,
    noise,
    peak_ratio,
    recorded,
    step_of,
    step_on_noise,
    tensors_of,
    train_bare,
    train_ours,
)
from palimpsest.groups import TrainingSettings
from palimpsest.networks import build_network
from palimpsest.networks.trunk import trunk_layers
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.training.loop import start_fabric


def pictures() -> tuple[Tensor, Tensor]:
    """Return pictures, float (N, 3, H, W), and their labels (N, H, W), as many as the steps of a loop use."""
    rows = torch.arange(STEPS * BATCH) % 128
    inputs, labels = tensors_of(noise(128, 80))
    return inputs[rows], labels[rows]


def avalanche_loop() -> Callable[[], None]:
    """Return a function that trains a new network with Avalanche's strategy `Naive` and its mean loss."""
    from avalanche.benchmarks import benchmark_from_datasets  # noqa: PLC0415 - only in the peers' environment
    from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute  # noqa: PLC0415
    from avalanche.evaluation.metrics import loss_metrics  # noqa: PLC0415
    from avalanche.training.plugins import EvaluationPlugin  # noqa: PLC0415
    from avalanche.training.supervised import Naive  # noqa: PLC0415

    inputs, labels = pictures()
    numbers = [0] * len(inputs)  # task of each picture, and a class, which Avalanche expects beside the label map
    attributes = [
        DataAttribute(numbers, "targets"),
        DataAttribute(numbers, "targets_task_labels", use_in_getitem=True),
    ]
    dataset: Any = AvalancheDataset([torch.utils.data.TensorDataset(inputs, labels)], data_attributes=attributes)
    stream = benchmark_from_datasets(train=[dataset]).train_stream

    def train() -> None:
        torch.manual_seed(0)
        network = build_network(SMALL, CLASSES + 1).to(DEVICE).to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
        evaluator = EvaluationPlugin(loss_metrics(epoch=True), loggers=[])
        strategy = Naive(
            model=network,
            optimizer=optimizer,
            criterion=F.cross_entropy,
            train_mb_size=BATCH,
            device=DEVICE,
            evaluator=evaluator,
        )
        strategy.train(stream[0], num_workers=0)

    return train


def avalanche_vs_bare(rounds: int) -> Ratio:
    """Measure images/s of Avalanche's `Naive` ÷ those of a bare loop."""
    inputs, labels = (tensor.to(DEVICE) for tensor in pictures())
    return paired(
        partial(train_bare, inputs, labels, bfloat16=False),
        avalanche_loop(),
        rounds,
        "images/s of Avalanche ÷ of a bare loop",
    )


def loop_vs_avalanche(rounds: int) -> Ratio:
    """Measure images/s of `palimpsest.training.loop.train`, with checkpoints and MLflow, ÷ those of Avalanche."""
    settings = TrainingSettings(steps=STEPS, batch_size=BATCH, learning_rate=1e-3, precision="32-true")
    fabric, prepared = start_fabric(settings), noise(128, 80)
    with recorded() as epochs:
        return paired(
            avalanche_loop(),
            lambda: train_ours(fabric, settings, prepared, epochs),
            rounds,
            "images/s of our loop ÷ of Avalanche",
        )


class _Binarised(torch.autograd.Function):
    """Step function of the original Piggyback: 1 above the threshold, else 0; the gradient passes unchanged."""

    @staticmethod
    def forward(ctx: Any, score: Tensor) -> Tensor:
        return (score > 5e-3).to(score.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class OriginalMask(nn.Module):
    """Parametrization of a layer by the published formula: weight ∘ step(score), with scores that start at 1e-2."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.score = nn.Parameter(torch.full_like(weight, 1e-2))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the masked weight."""
        mask: Tensor = _Binarised.apply(self.score)
        return mask * weight


def original_step(size: Step = FULL) -> Callable[[], None]:
    """Return a function that takes one training step of masks by the published formula, as `step_of`."""
    torch.manual_seed(0)
    network: nn.Module = build_network(UNetSettings(width=size.width), CLASSES + 1)
    network.to(DEVICE).to(memory_format=torch.channels_last).train().requires_grad_(False)
    scores = []
    for _, layer in list(trunk_layers(network)):
        mask = OriginalMask(layer.weight.detach())
        nn.utils.parametrize.register_parametrization(layer, "weight", mask, unsafe=True)
        scores.append(mask.score)
    return step_on_noise(network, torch.optim.Adam(scores, lr=1e-4, fused=True), size, bfloat16=False)


def masked_step(size: Step = FULL) -> Callable[[], None]:
    """Return a function that takes one training step of our masks, in float32."""
    return step_of("piggyback", size, bfloat16=False)


def batched_masked_step() -> Callable[[], None]:
    """Return the step of our masks at the study's batch size."""
    return masked_step(BATCHED)


def batched_original_step() -> Callable[[], None]:
    """Return the step of the published formula at the study's batch size."""
    return original_step(BATCHED)


def masked_vs_original_step(rounds: int) -> Ratio:
    """Measure the time of a training step of our masks ÷ that of the original formula, in float32."""
    return paired(masked_step(), original_step(), rounds, "time ÷ time of the original Piggyback layer, width 64")


def masked_vs_original_memory(rounds: int) -> Ratio:
    """Measure the peak memory of three training steps of our masks ÷ that of the original formula."""
    return peak_ratio(
        "benchmarks.peers:batched_masked_step",
        "benchmarks.peers:batched_original_step",
        rounds,
        "peak memory ÷ of the original Piggyback layer, width 64, batch 16",
    )
