"""Generated pairs of pictures: scenes, and the same scenes degraded."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from palimpsest.data.degradations import DEGRADATIONS
from palimpsest.data.encoding import encoded
from palimpsest.data.generated import pictures, write_file
from palimpsest.data.scenes import coco


def generate_pairs(root: Path, images: Mapping[str, int], size: int, seed: int, *, degradation: str) -> None:
    """Write `images[split]` pairs per split below `root`, as ``train/input`` and ``train/target``.

    `size` is the shorter side in pixels. Targets are scenes of the COCO family, inputs the same scenes after a
    degradation of `DEGRADATIONS`. Each split has other scenes; data sets with the same seed have the same scenes.
    """
    degrade = DEGRADATIONS[degradation]
    for split, count in images.items():
        for role in ("input", "target"):
            (root / split / role).mkdir(parents=True, exist_ok=True)
        for number, scene in enumerate(pictures(coco.FAMILY, f"pairs {split}", count, size, seed)):
            target = Image.fromarray(scene.pixels)
            random = np.random.default_rng([seed, zlib.crc32(split.encode()), number])
            degraded = degrade(target, random)
            for role, picture in (("input", degraded), ("target", target)):
                write_file(root / split / role / f"{number:06d}.png", encoded(picture, ".png"))
