"""Device and precision of a computation."""

from typing import Literal

import torch

from palimpsest import machine
from palimpsest.groups import TrainingSettings

BFLOAT16 = ("amx_bf16", "avx512_bf16")
"""CPU instruction sets for bfloat16, by PyTorch's names. Without them convolutions in bfloat16 take ten times as
long as in float32. ARM's ``bf16`` is not listed, as its speed was not measured."""


def device_for(accelerator: str) -> torch.device:
    """Return the device of an accelerator setting: a CUDA GPU if there is one, unless the setting is ``cpu``."""
    return torch.device("cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Return True if the device has instructions for bfloat16; emulation does not count."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in BFLOAT16)


def precision_for(training: TrainingSettings) -> Literal["32-true", "bf16-mixed"]:
    """Return the precision of a training: `training.precision`, or for `auto` the faster one on this machine."""
    if training.precision != "auto":
        return training.precision
    return "bf16-mixed" if has_bfloat16(device_for(training.accelerator)) else "32-true"


def with_precision(training: TrainingSettings) -> TrainingSettings:
    """Return the settings of a training with `training.precision` as `precision_for` resolves it."""
    return training.model_copy(update={"precision": precision_for(training)})


def measuring_conditions(device: torch.device) -> dict[str, str]:
    """Return the conditions, by name, under which equal networks and pictures give bit-identical predictions.

    The instruction set is listed beside the processor because a virtual machine may hide a part of it.
    """
    conditions = {"torch": torch.__version__, "precision": f"float32, {torch.get_float32_matmul_precision()}"}
    if device.type == "cuda":
        card = torch.cuda.get_device_name(device)
        return conditions | {"device": card, "cuda": str(torch.version.cuda), "cudnn": str(cudnn_version())}
    return conditions | {
        "device": device.type,
        "processor": machine.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }


def cudnn_version() -> int | None:
    """Return the version of cuDNN as one number; None without cuDNN."""
    version: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return version
