"""Downloads of a run, and the note on them. Only a run that makes data or weights imports this module, which takes
time."""

from collections.abc import Sequence
from dataclasses import dataclass

from palimpsest.data.download import DOWNLOADS
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.sources import WEIGHTS, archives_beside, local_weights
from palimpsest.settings import Settings

MB = 10**6


@dataclass(frozen=True)
class Download:
    """File that a run downloads."""

    name: str
    """Name of the file; of weights from timm's hub the name of the encoder."""
    bytes: int | None
    """Size; None if it is not known."""
    part_of: str
    """``archives``, ``weights`` or ``encoder``."""


def downloads(
    settings: Settings, datasets: Sequence[str], networks: Sequence[str], encoders: Sequence[str]
) -> list[Download]:
    """Return the files that a run downloads, without those that were downloaded before.

    ``datasets`` are the data sets that the run makes. ``networks`` and ``encoders`` are the perceptual networks and
    the encoders with weights that it makes.
    """
    layout = settings.layout
    archives = [
        archive
        for name in datasets
        if isinstance(dataset := settings.datasets[name], PublicDatasetSettings) and dataset.source == "download"
        for archive in dataset.archives
        if not (archives_beside(layout.manifest(name).parent) / archive).exists()
    ]
    weights = [
        WEIGHTS[name]
        for name in networks
        if not local_weights(name, settings.data_root) and not (layout.weights / WEIGHTS[name]).exists()
    ]
    files = {"archives": archives, "weights": weights}
    return [
        Download(name, DOWNLOADS[name].megabytes * MB, part) for part, names in files.items() for name in names
    ] + [Download(name, None, "encoder") for name in encoders]


def download_note(
    settings: Settings, datasets: Sequence[str], networks: Sequence[str], encoders: Sequence[str]
) -> str:
    """Return a line on the downloads of a run, and on the way to avoid them; empty without downloads.

    For the parameters see `downloads`.
    """
    files = downloads(settings, datasets, networks, encoders)
    parts = [file.part_of for file in files]
    texts, advice = [], []
    if sized := [file for file in files if file.bytes is not None]:
        names = ", ".join(file.name for file in sized)
        texts.append(f"{names} ({size_text(sum(file.bytes or 0 for file in sized))})")
    if "archives" in parts:
        advice.append("set data_root to a folder with coco/, voc/ and weights/")
    elif "weights" in parts:
        advice.append(f"put the weights into {settings.data_root or 'the folder data_root'}/weights/")
    for name in encoders:
        texts.append(f"the weights of {name} from timm's hub")
        advice.append("set network.encoder_weights to a file with timm's weights")
    if not texts:
        return ""
    return f"the run downloads {' and '.join(texts)}; to avoid that, {' and '.join(advice)}"


def size_text(size: int) -> str:
    """Return a number of bytes as text in MB, from 1 GB on in GB; both decimal."""
    return f"{size / 10**9:.1f} GB" if size >= 10**9 else f"{size / MB:.0f} MB"
