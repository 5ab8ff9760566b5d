"""Pictures, pairs and the command that adds a task to a bundle."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from palimpsest import cli

FILE, NEW, LEARNING = "tasks.safetensors", "more.safetensors", "more.learning"


def pictures(folder: str, number: int = 24, side: int = 40) -> list[Path]:
    """Write pictures of a bright square on a dark ground, and return their paths."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (top, left) in enumerate(np.random.default_rng(0).integers(2, side - 18, (number, 2))):
        pixels = np.full((side, side, 3), 30, np.uint8)
        pixels[top : top + 16, left : left + 16] = (220, 60 + 5 * index, 40)
        paths.append(Path(folder, f"{index:02}.png"))
        Image.fromarray(pixels).save(paths[-1])
    return paths


def pairs(inputs: str, targets: str, number: int = 24) -> None:
    """Write pairs: a picture, and its negative as the target."""
    Path(targets).mkdir(parents=True)
    for path in pictures(inputs, number):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(Path(targets, path.name))


def add(*arguments: str, name: str = "new") -> int:
    return cli.main(["add-task", FILE, "--name", name, "-o", NEW, *arguments])


def perceptual_weights() -> str:
    """Write random weights of SqueezeNet, and return the path."""
    from torchvision.models import squeezenet1_1  # noqa: PLC0415

    torch.save(squeezenet1_1().state_dict(), "squeezenet.pth")
    return "squeezenet.pth"
