"""Update the results in README.md and docs/: the tables between markers, and the pictures.

python -m pipeline.readme
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skimage.data
from PIL import Image

from palimpsest.analysis.conditions import describe_conditions, load_json
from palimpsest.data.encoding import encoded
from palimpsest.data.pictures import resize_and_crop
from palimpsest.errors import PalimpsestError
from palimpsest.explaining import MASKED
from palimpsest.layout import Layout
from palimpsest.methods import by_required_network
from palimpsest.output import survive_any_output
from palimpsest.overlay import overlaid
from palimpsest.params import read, resolve
from palimpsest.report.ablation import (
    ablation_table,
    by_method,
    curves,
    joined_figures,
    load_ablations,
    steps_table,
)
from palimpsest.report.bench import bench_table
from palimpsest.report.chart import quality_file
from palimpsest.report.explained import write_page
from palimpsest.report.grid import titled_columns, write_grid
from palimpsest.report.readme import has_table, methods_table, tasks_table, write_tables
from palimpsest.report.sequence import sequence_table
from palimpsest.report.sweep import load_sweep, sweep_table
from palimpsest.report.tradeoff import incomparable_methods, summary_table
from palimpsest.settings import FLOOR, Settings
from palimpsest.storage.atomic import write_bytes
from palimpsest.task_files import TaskFiles
from palimpsest.variants import sweep_tables

PHOTOGRAPHS = ("chelsea", "astronaut", "coffee", "rocket")
"""Photographs of scikit-image in the picture of photographs; no data set of the project contains them."""
PHOTOGRAPH_SIDE = 320
"""Side of the photographs before their translation, in pixels."""
GRID_TASKS = ("coco-seg", "colorize", "style-gogh", "style-munch")
"""Tasks whose predictions the picture of scenes shows."""


def main() -> None:
    """Replace the tables between markers in README.md and docs/.

    Replace the figure of quality against bytes, the page on masks if `mini` has results of its experiments, the
    picture of scenes if results of `mini` exist, and the picture of photographs if all tasks of `real` are trained
    with masks.
    """
    params = read(Path("params.yaml"))
    text_of = dict(tables(Path("results"), Path("docs/results"), params))
    for document in (Path("README.md"), *sorted(Path("docs").glob("*.md"))):
        write_tables(document, {name: text for name, text in text_of.items() if has_table(document, name)})
    write_bytes(Path("docs/quality.svg"), quality_of_bytes(Path("results"), Path("docs/results"), params))
    explained = Layout("mini").explained
    if (explained / "metrics.csv").exists():
        write_page(pd.read_csv(explained / "metrics.csv"), load_json(explained / "conditions.json"), Path("docs"))
    evaluation = Layout("mini").evaluation(0, "piggyback").parent
    if evaluation.exists():
        write_grid(Path("docs/translations.png"), evaluation, "piggyback", GRID_TASKS, rows=3, side=160)
    settings = resolve(params, {"preset": "real", "data_root": None})
    trained = TaskFiles(settings.layout, 0, "piggyback", settings.sequence)
    if all(path.exists() for path in trained.files(settings.sequence)):
        write_photographs(Path("docs/translations-real.png"), settings)


def quality_of_bytes(results: Path, longer: Path, params: Mapping[str, Any]) -> bytes:
    """Return the figure of quality against bytes of all methods of `mini` on one network, as an SVG file.

    Ablations of a single method are points too. For the parameters see `tables`.
    """
    settings = resolve(params, {"preset": "mini", "methods": "all"})
    methods = by_required_network(settings.methods)[""]
    sequence = sequence_of(params, "mini")
    joined, _ = by_method(load_ablations(results / "mini"), sequence)
    forgetting = pd.read_csv(longer / "mini/forgetting.csv")
    summary = summary_table(forgetting, methods, incomparable_methods(settings), joined_figures(joined, sequence))
    return quality_file(summary["positions"], summary["spread"], summary["front"])


def write_photographs(destination: Path, settings: Settings) -> None:
    """Write the translations of `PHOTOGRAPHS` by the masks of seed 0: a row per photograph, a column per task."""
    from palimpsest.bundling import bundle_study  # noqa: PLC0415 - PyTorch takes seconds

    photographs = [
        resize_and_crop(getattr(skimage.data, name)(), PHOTOGRAPH_SIDE, labels=False) for name in PHOTOGRAPHS
    ]
    columns = [("photograph", np.stack(photographs))]
    for name in settings.sequence:
        translator = bundle_study(settings, 0, "piggyback", [name]).translator(name)
        translated = [translator.image(photograph) for photograph in photographs]
        if translator.classes:
            pairs = zip(photographs, translated, strict=True)
            translated = [overlaid(photograph, labels, translator.classes) for photograph, labels in pairs]
        columns.append((name, np.stack([np.asarray(picture) for picture in translated])))
    picture = Image.fromarray(titled_columns(columns, side=160))
    write_bytes(destination, encoded(picture, destination.suffix, optimize=True))


def tables(results: Path, longer: Path, params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of each table for which results exist.

    ``results`` is the folder of this machine's runs. ``longer`` is the folder of summaries of long runs that the
    repository contains. The tables, by name:

    `<preset>`: the methods of the preset in ``params``, to fit the page; from ``results`` if it has a summary of
    the preset, otherwise from ``longer``.
    `<preset>-methods`: all methods of a preset in ``longer``.
    `<preset>-sequence`: the tasks of a long sequence, from copies of `quality.csv`, `growth.csv` and `costs.csv` in
    ``longer``.
    `<preset>-<network>` and `<preset>-methods-<network>`: the same for methods that bring a network of their own.
    `<preset>-ablation-<name>`, and `<preset>-steps` with the curves of quality against steps: from ``results``.
    Ablations of a single method are rows of one table with the name of the method.
    `<table>-conditions`: pictures, machine and versions behind each of these tables, as `<preset>-conditions`.
    `<preset>-sweep-<method>` and `bench`: from ``results``.
    """
    paths = (*longer.glob("*/summary.json"), *results.glob("*/summary.json"))
    by_preset = {path.parent.name: path for path in paths}
    for name, path in sorted(by_preset.items()):
        summary, methods = json.loads(path.read_text("utf-8")), {FLOOR, *methods_of(params, name)}
        compared = {method: entry for method, entry in summary.items() if method in methods}
        yield from ((f"{name}{suffix}", tasks_table(part)) for suffix, part in by_network(compared))
        yield from conditions_of(name, path)
    for path in sorted(longer.glob("*/summary.json")):
        yield from conditions_of(f"{path.parent.name}-methods", path)
        forgetting = pd.read_csv(path.with_name("forgetting.csv"))
        for suffix, part in by_network(json.loads(path.read_text("utf-8"))):
            yield f"{path.parent.name}-methods{suffix}", methods_table(part, forgetting)
    for path in sorted(longer.glob("*/growth.csv")):
        yield f"{path.parent.name}-sequence", sequence_table(path.parent, MASKED)
    for folder in sorted({path.parent for path in results.glob("*/ablation/*.csv")}):
        preset, ablations = folder.parent.name, load_ablations(folder.parent)
        sequence = sequence_of(params, preset)
        yield f"{preset}-steps", steps_table(curves(ablations, sequence))
        joined, others = by_method(ablations, sequence)
        for ablation in (one for one in (*joined, *others) if one.tasks(sequence)):
            yield f"{preset}-ablation-{ablation.name}", ablation_table(ablation, sequence)
    for folder in sorted(results.glob("*/sweep")):
        for swept in sweep_tables(folder.parent):
            yield f"{folder.parent.name}-sweep-{swept.stem}", sweep_table(load_sweep(swept))
    if (results / "bench.json").exists():
        yield "bench", bench_table(json.loads((results / "bench.json").read_text("utf-8")))


def conditions_of(table: str, summary: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of the conditions of a table, if `conditions.json` is beside the file ``summary``."""
    path = summary.with_name("conditions.json")
    if path.exists():
        yield f"{table}-conditions", f"{describe_conditions(load_json(path))}\n"


def by_network(summary: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parts of a summary whose methods have the same network, with a suffix for the name of the table."""
    for network, group in by_required_network(summary).items():
        yield f"-{network}" if network else "", {m: entry for m, entry in summary.items() if m in (FLOOR, *group)}


def sequence_of(params: Mapping[str, Any], preset: str) -> list[tuple[str, str]]:
    """Return the tasks of a preset in ``params``, the content of `params.yaml`, with their kinds."""
    settings = resolve(params, {"preset": preset, "data_root": None})
    return [(name, settings.tasks[name].kind) for name in settings.sequence]


def methods_of(params: Mapping[str, Any], preset: str) -> Sequence[str]:
    """Return the methods of a preset in ``params``, the content of `params.yaml`.

    For an unknown preset, return those of `defaults`.
    """
    overrides = {"preset": preset} if preset in params["presets"] else {"methods": params["defaults"]["methods"]}
    return resolve(params, {**overrides, "data_root": None}).methods


if __name__ == "__main__":
    survive_any_output()
    try:
        main()
    except PalimpsestError as error:
        sys.exit(f"error: {error}")
