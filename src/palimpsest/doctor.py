"""Checks of this machine and this folder, with the way to mend what is wrong, for `palimpsest doctor`."""

import importlib.metadata
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil
from packaging.requirements import Requirement

from palimpsest import __version__, machine
from palimpsest.devices import device_for, has_bfloat16
from palimpsest.errors import PalimpsestError

if TYPE_CHECKING:
    from palimpsest.settings import Settings

GIB = 2**30
LOW_MEMORY = 4 * GIB
"""Free memory below which trainings of the preset `mini` may not fit."""
LOW_DISK = 2 * GIB
"""Free disk space below which a run of the preset `mini` may not fit."""

State = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    topic: str
    state: State
    text: str
    """Observation; for a fault also the way to mend it."""


def examine(preset: str | None = None) -> Iterator[Finding]:
    """Yield the findings about Python, processor, memory, disk and GPU, and about the study in this folder, if any.

    ``preset`` is the preset of the study to check; None means that of `params.yaml`.
    """
    yield from packages()
    yield processor()
    yield memory()
    yield disk()
    yield graphics()
    if not Path("params.yaml").exists():
        yield Finding("study", "note", "no params.yaml in this folder: only commands on bundles work here")
        return
    yield from study(preset)


def packages() -> Iterator[Finding]:
    """Yield the version, and a finding for each group of dependencies that is incomplete or too old."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("version", "ok", f"palimpsest {__version__}, Python {version}")
    requirements = [Requirement(text) for text in importlib.metadata.requires("palimpsest") or []]
    for extra in ("", "pipeline", "export"):
        wrong = [
            problem
            for requirement in requirements
            if belongs(requirement, extra) and (problem := problem_of(requirement))
        ]
        topic = f"extra {extra}" if extra else "packages"
        if not wrong:
            yield Finding(topic, "ok", "complete")
            continue
        name = f"'palimpsest[{extra}]'" if extra else "palimpsest"
        state: State = "note" if extra else "fault"
        yield Finding(topic, state, f"{', '.join(wrong)}; run: pip install {name}")


def belongs(requirement: Requirement, extra: str) -> bool:
    """Return True if a requirement is in an extra; '' means the dependencies without extra."""
    marker = requirement.marker
    without = marker is None or marker.evaluate({"extra": ""})
    return without if not extra else not without and marker is not None and marker.evaluate({"extra": extra})


def problem_of(requirement: Requirement) -> str:
    """Return a text about a requirement that is not met; '' if it is."""
    try:
        installed = importlib.metadata.version(requirement.name)
    except ModuleNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name} {installed} is older than {requirement.specifier}"


def processor() -> Finding:
    """Return the finding about cores and number formats."""
    cores = f"{machine.cores()} cores, {machine.processor()}"
    if has_bfloat16(device_for("cpu")):
        return Finding("processor", "ok", f"{cores}, with instructions for bfloat16")
    return Finding(
        "processor",
        "note",
        f"{cores}, no instructions for bfloat16: trainings on it take two to three times as long",
    )


def memory() -> Finding:
    """Return the finding about free memory."""
    free = psutil.virtual_memory().available
    text = f"{free / GIB:.1f} GiB of memory are free"
    return (
        Finding("memory", "ok", text)
        if free >= LOW_MEMORY
        else Finding("memory", "fault", f"{text}; end other programs")
    )


def disk() -> Finding:
    """Return the finding about free space in this folder."""
    free = shutil.disk_usage(".").free
    text = f"{free / GIB:.1f} GiB are free in {Path.cwd()}"
    return Finding("disk", "ok", text) if free >= LOW_DISK else Finding("disk", "fault", f"{text}; make room")


def graphics() -> Finding:
    """Return the finding about GPUs, and about a GPU that PyTorch cannot use."""
    import torch  # noqa: PLC0415

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding("GPU", "ok", names)
    if machine.gpus():
        return Finding(
            "GPU",
            "fault",
            f"{machine.gpus()} NVIDIA GPUs, which PyTorch {torch.__version__} cannot use; install a build "
            "of PyTorch for CUDA and a driver that fits it",
        )
    return Finding("GPU", "note", "none: everything runs on the processor")


def study(preset: str | None) -> Iterator[Finding]:
    """Yield the findings about settings, data, commit and tracking of the study in this folder."""
    from palimpsest.params import read, resolve  # noqa: PLC0415
    from palimpsest.preflight import check_devices, check_settings  # noqa: PLC0415
    from palimpsest.provenance import GitError, commit_of_code  # noqa: PLC0415
    from palimpsest.tracking.database import check_database  # noqa: PLC0415
    from palimpsest.tracking.server import server_uri, shown  # noqa: PLC0415

    try:
        settings = resolve(read(Path("params.yaml")), {} if preset is None else {"preset": preset})
    except PalimpsestError as error:
        yield Finding("settings", "fault", str(error))
        return
    checks: list[tuple[str, Callable[[], object], str]] = [
        ("settings", lambda: check_devices(settings), f"preset {settings.preset}, {len(settings.methods)} methods"),
        (
            "data",
            lambda: check_settings(settings),
            f"files of the {len(settings.sequence)} tasks: {data_text(settings)}",
        ),
        ("tracking", check_database, "mlflow.db can be used, or will be made"),
    ]
    uri = server_uri(settings.tracking.uri)
    if uri is not None:
        from palimpsest.tracking.sender import check_server  # noqa: PLC0415 (MLflow takes seconds)

        checks.append(("tracking server", lambda: check_server(uri), f"{shown(uri)} answers"))
    for topic, check, text in checks:
        try:
            check()
        except PalimpsestError as error:
            yield Finding(topic, "fault", str(error))
        else:
            yield Finding(topic, "ok", text)
    try:
        yield Finding("commit", "ok", commit_of_code())
    except GitError as error:
        yield Finding("commit", "note", f"none is recorded with the results: {error}")


def data_text(settings: "Settings") -> str:
    """Return a text about the sources of the data of a study."""
    return ", ".join(sorted({dataset.source for dataset in settings.datasets.values()}))
