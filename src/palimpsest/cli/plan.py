"""`palimpsest plan`: what a run will cost."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from palimpsest.cli.options import PARAMS, Config, Debug, MoreConfig, check_preset, parse_override, require_params
from palimpsest.cli.outcome import DONE, UsageError, json_text
from palimpsest.errors import printable
from palimpsest.progress import minutes

if TYPE_CHECKING:
    from palimpsest.planning.estimate import Estimate


def plan(
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Preset to plan.", show_default=f"that of {PARAMS}")
    ] = None,
    cores: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Cores of the run.", show_default="all of this machine")
    ] = None,
    config: Config = None,
    more: MoreConfig = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> int:
    """Estimate trainings, time, disk space and downloads of a run.

    List the trainings of `snakemake all` that are still to do, and measure a few steps of each kind on random
    pictures: no data are needed. As many trainings are measured side by side as the run has, and other programs on
    the machine slow down both. Data, models and results stay as they are.

    \b
    example:
      palimpsest plan --preset mini
    """
    require_params(beside="Snakefile")
    overrides = dict(parse_override(text) for text in [*(config or []), *(more or [])])
    if preset is not None:
        from palimpsest.params import read  # noqa: PLC0415 (pydantic takes a while)

        check_preset(preset, read(PARAMS))
        if "preset" in overrides:
            raise UsageError("--preset: --config sets the preset too; remove one of both")
        overrides["preset"] = preset

    from tqdm import tqdm  # noqa: PLC0415 (takes a while)

    from palimpsest.planning.plan import plan as plan_run  # noqa: PLC0415 (PyTorch takes seconds)

    with tqdm(desc="measuring", unit=" groups", disable=None, leave=False, file=sys.stderr) as bar:

        def show(done: int, groups: int) -> None:
            bar.total = groups
            bar.update(done - bar.n)

        estimate = plan_run(overrides, cores, show)
    if as_json:
        values = asdict(estimate)
        values["disk"]["total"] = estimate.disk.total
        print(json_text(values))
    else:
        print(printable("\n".join(lines(estimate))))
    return DONE


def lines(estimate: "Estimate") -> Iterator[str]:
    """Yield the lines of a plan for a reader."""
    from palimpsest.download_note import size_text  # noqa: PLC0415 (takes a while)

    pending = [training for training in estimate.trainings if not training.finished]
    finished = len(estimate.trainings) - len(pending)
    yield f"{'method':<20} {'trainings':>9} {'finished':>8} {'steps':>9} {'time':>9}"
    for method in dict.fromkeys(training.method for training in estimate.trainings):
        of_method = [training for training in estimate.trainings if training.method == method]
        to_do = [training for training in of_method if not training.finished]
        steps, seconds = (sum(getattr(t, key) for t in to_do) for key in ("steps", "seconds"))
        yield f"{method:<20} {len(to_do):>9} {len(of_method) - len(to_do):>8} {steps:>9} {minutes(seconds):>9}"
    steps = sum(training.steps for training in pending)
    total = sum(training.seconds for training in pending)
    yield f"{'all':<20} {len(pending):>9} {finished:>8} {steps:>9} {minutes(total):>9}"
    yield ""
    if not estimate.jobs:
        yield "run        nothing to do: all outputs are up to date"
        return
    side = (
        "one training at a time"
        if estimate.side_by_side == 1
        else f"{estimate.side_by_side} trainings side by side"
    )
    noun = "core" if estimate.cores == 1 else "cores"
    yield (
        f"run        {minutes(estimate.seconds)} on {estimate.cores} {noun}, {side} ({estimate.jobs} jobs take "
        f"{minutes(estimate.job_seconds)} in all), without downloads"
    )
    disk = estimate.disk
    sizes = {
        "data": disk.raw,
        "prepared arrays": disk.prepared,
        "stored tasks": disk.models,
        "checkpoints while training": disk.checkpoints,
    }
    parts = ", ".join(f"{name} {size_text(size)}" for name, size in sizes.items())
    yield f"disk       {size_text(disk.total)}: {parts}"
    files = [
        f"{file.name} ({'size not known' if file.bytes is None else size_text(file.bytes)})"
        for file in estimate.downloads
    ]
    size = size_text(sum(file.bytes or 0 for file in estimate.downloads))
    yield f"downloads  {size}: {', '.join(files)}" if files else "downloads  none"
    for rule, longest in estimate.longest.items():
        if rule.startswith(("train", "evaluate", "prepare")):
            yield (
                f"longest    {rule}: {longest.job}, {minutes(longest.seconds)}; time limit on a cluster "
                f"{longest.limit_minutes} min"
            )
