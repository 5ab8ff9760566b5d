"""Training loop compared with a bare loop, and a step of masks with a step of all weights."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.ratios import Ratio, paired, spread, synchronise
from palimpsest.data.arrays import Prepared
from palimpsest.devices import device_for, has_bfloat16
from palimpsest.groups import CropSettings, TrainingSettings
from palimpsest.methods import method_class
from palimpsest.methods.base import Start
from palimpsest.methods.masks_settings import MaskSettings
from palimpsest.networks import build_network
from palimpsest.networks.unet_settings import UNetSettings
from palimpsest.tasks import build_task
from palimpsest.tasks.base import Task
from palimpsest.tasks.segmentation_settings import SegmentationSettings
from palimpsest.tracking import runs
from palimpsest.training.cost import resident_memory
from palimpsest.training.loop import Plan, TaskData, optimizer_of, start_fabric, train

CLASSES = 6
"""Classes of the segmentation, without background."""
DEVICE = device_for("auto")
SMALL = UNetSettings(width=16)
"""Network of `mini`; its steps are short, so that overhead is visible."""
CROP = 64
BATCH = 16
STEPS = 60


SEGMENTATION = SegmentationSettings(
    kind="segmentation", data="noise", classes={f"class {number}": [str(number)] for number in range(CLASSES)}
)


def segmentation() -> Task:
    """Return a segmentation task with `CLASSES` classes and background."""
    return build_task("bench", SEGMENTATION)


def noise(count: int, side: int) -> Prepared:
    """Return ``count`` random pictures with sides of ``side`` pixels and random labels, in memory."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    labels = random.integers(0, CLASSES + 1, (count, side, side), dtype=np.uint8)
    sources = tuple(f"{number}.png" for number in range(count))
    return Prepared(pictures, labels, sources, ("train",) * count, {})


def tensors_of(prepared: Prepared) -> tuple[Tensor, Tensor]:
    """Return crops of the pictures, float (N, 3, `CROP`, `CROP`), and of their labels, (N, `CROP`, `CROP`)."""
    assert prepared.target is not None
    inputs = torch.from_numpy(prepared.picture[:, :CROP, :CROP]).permute(0, 3, 1, 2).float() / 255
    return inputs, torch.from_numpy(prepared.target[:, :CROP, :CROP]).long()


def loop_vs_bare(rounds: int) -> Ratio:
    """Measure images/s of `palimpsest.training.loop.train`, with checkpoints and MLflow, ÷ those of a bare loop."""
    prepared = noise(128, 80)
    inputs, labels = tensors_of(prepared)
    settings = TrainingSettings(steps=STEPS, batch_size=BATCH, learning_rate=1e-3)
    fabric = start_fabric(settings)
    with recorded() as epochs:
        return paired(
            lambda: train_bare(inputs.to(DEVICE), labels.to(DEVICE)),
            lambda: train_ours(fabric, settings, prepared, epochs),
            rounds,
            "images/s ÷ images/s of a bare loop",
        )


@contextmanager
def recorded() -> Iterator[Callable[..., None]]:
    """Run a block in a temporary folder with an MLflow run; yield a function (`EpochDone`) that logs to it."""
    tags = runs.training_tags("bench", 0, "scratch", "bench")
    with (
        tempfile.TemporaryDirectory() as folder,
        chdir(folder),
        runs.training_run(tags, "key", {}) as run,
    ):

        def epochs(history: Sequence[dict[str, float]]) -> None:
            assert isinstance(run, runs.Run)
            run.logged = -1  # every repetition logs like the first
            run.epochs(history[-1:])

        yield epochs


def train_ours(fabric: object, settings: TrainingSettings, prepared: Prepared, epochs: Callable[..., None]) -> None:
    """Train a new network with the pipeline's loop on data in memory; ``epochs`` is called after each epoch."""
    torch.manual_seed(0)
    network = build_network(SMALL, CLASSES + 1)
    method, task = method_class("scratch")(), segmentation()
    groups = method.begin_task(Start(network, task, settings))
    plan = Plan(settings, Path("bench.resume"), "key")
    data = TaskData(task, prepared, CropSettings(size=80, crop=CROP), settings.batch_size, settings.steps, seed=0)
    plan.checkpoint.unlink(missing_ok=True)
    train(fabric, network, method, groups, [data], plan, epochs)  # type: ignore[arg-type]


def train_bare(inputs: Tensor, labels: Tensor, bfloat16: bool = has_bfloat16(DEVICE)) -> None:
    """Train a new network of the same size on the same pictures with a minimal PyTorch loop.

    The loop computes in bfloat16 if ``bfloat16``, otherwise in float32.
    """
    torch.manual_seed(0)
    network = build_network(SMALL, CLASSES + 1).to(DEVICE).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    for step in range(STEPS):
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(inputs)
        pictures = inputs[rows].contiguous(memory_format=torch.channels_last)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bfloat16):
            output = network(pictures)
        loss = F.cross_entropy(output.float(), labels[rows])
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimizer.step()


@dataclass(frozen=True)
class Step:
    """Size of a training step."""

    width: int
    """Channels of the network's first stage."""
    batch_size: int
    side: int
    """Side of the pictures in pixels."""


FULL = Step(width=64, batch_size=16, side=256) if DEVICE.type == "cuda" else Step(width=64, batch_size=4, side=128)
"""Step at the study's width; on a GPU also at its batch size, elsewhere small enough for two cores."""
BATCHED = FULL if DEVICE.type == "cuda" else Step(width=64, batch_size=16, side=128)
"""Step at the study's width and batch size, for memory: activations grow with the batch, masks do not."""
MINI = Step(width=SMALL.width, batch_size=BATCH, side=CROP)
"""Step of the preset `mini`."""


def step_of(name: str, size: Step, bfloat16: bool = has_bfloat16(DEVICE)) -> Callable[[], None]:
    """Return a function that takes one training step of the method ``name`` on random pictures.

    The step computes in bfloat16 if ``bfloat16``, otherwise in float32.
    """
    torch.manual_seed(0)
    network = build_network(UNetSettings(width=size.width), CLASSES + 1)
    network.to(DEVICE).to(memory_format=torch.channels_last).train()
    method = method_class(name)(MaskSettings())
    groups = method.begin_task(Start(network, segmentation(), TrainingSettings()))
    return step_on_noise(network, optimizer_of(groups), size, bfloat16)


def step_on_noise(
    network: nn.Module, optimizer: torch.optim.Optimizer, size: Step, bfloat16: bool
) -> Callable[[], None]:
    """Return a function that takes one training step of a network on random pictures; see `step_of`."""
    shape = (size.batch_size, size.side, size.side)
    pictures = torch.rand(shape[0], 3, *shape[1:], device=DEVICE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES + 1, shape, device=DEVICE)

    def step() -> None:
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=bfloat16):
            output = network(pictures)
        torch.autograd.backward(F.cross_entropy(output.float(), labels))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def masked_vs_finetune_step(rounds: int) -> Ratio:
    """Measure the time of a training step of masks ÷ the time of a training step of all weights."""
    masked, plain = (step_of(name, FULL) for name in ("piggyback", "fine-tune"))
    return paired(masked, plain, rounds, "time ÷ time of a fine-tune step, width 64")


def bfloat16_vs_float32(rounds: int) -> Ratio:
    """Measure the time of a training step of `mini` in bfloat16 ÷ in float32.

    `training.precision: auto` is to select the faster one.
    """
    mixed, single = (step_of("fine-tune", MINI, bfloat16=bfloat16) for bfloat16 in (True, False))
    return paired(mixed, single, rounds, "time ÷ time of a step in float32, width 16")


def masked_vs_finetune_memory(rounds: int) -> Ratio:
    """Measure the peak memory of three training steps of masks ÷ that of all weights, in separate processes."""
    return peak_ratio(
        "benchmarks.training:masked_step",
        "benchmarks.training:fine_tune_step",
        rounds,
        "peak memory ÷ peak memory of fine-tune, width 64, batch 16",
    )


def peak_ratio(ours: str, reference: str, rounds: int, unit: str) -> Ratio:
    """Measure the peak memory of the training steps of ``ours`` ÷ that of ``reference``, both as in `peak`."""
    return spread([peak(ours) / peak(reference) for _ in range(max(1, rounds // 4))], unit)


def masked_step() -> Callable[[], None]:
    """Return a function that takes one training step of masks at the study's width and batch size."""
    return step_of("piggyback", BATCHED)


def fine_tune_step() -> Callable[[], None]:
    """Return a function that takes one training step of all weights at the study's width and batch size."""
    return step_of("fine-tune", BATCHED)


def peak(make_step: str) -> float:
    """Return the peak bytes of three training steps, measured in a new process.

    ``make_step`` names, as ``module:function``, a function that returns the step.
    """
    code = f"from benchmarks.training import measure_peak; measure_peak({make_step!r})"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def measure_peak(make_step: str) -> None:
    """Print the peak bytes of three training steps (`peak`), without those of PyTorch itself."""
    function: Callable[[], Callable[[], None]] = resolve_name(make_step)
    before = resident_memory()
    step = function()
    for _ in range(3):
        step()
    synchronise()
    print(torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else resident_memory() - before)
