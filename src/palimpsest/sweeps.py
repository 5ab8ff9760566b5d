"""Sweeps: variants of a preset's settings, each compared with the preset for one method.

    sweeps:
      mini:                # the preset
        piggyback:         # the method
          momentum-0.9: { method_settings: { piggyback: { score_beta1: 0.9 } } }

A variant overrides settings of its preset; `snakemake sweep` trains and measures it. Its name is the name of its
folder and must be unique in the preset. A shorter sequence saves time if the first tasks suffice for the
comparison.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.errors import SettingsError, check_name, unknown_name
from palimpsest.jobs import training_job
from palimpsest.methods import BASES, METHODS
from palimpsest.params import check_mapping, merge_settings, resolve
from palimpsest.settings import Settings, Variant

Variants = dict[str, Mapping[str, Any]]
"""Variants of one method: the settings that each variant overrides, by its name."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
"""Pattern of the name of a variant."""
CHANGEABLE = ("network", "networks", "base", "autoencoder", "training", "method_settings")
"""Groups that a variant may change, beside losses of tasks and the length of the sequence. A change of other
settings would change the task or its measurement, and the figures could not be compared."""
FIXED = {"base": ("encoder_weights",), "training": ("threads", "accelerator", "devices")}
"""Keys within `CHANGEABLE` that a variant may not change: files and hardware."""


def sweeps_of(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Variants]:
    """Return the variants of the chosen preset, by method.

    ``content`` is that of `params.yaml`, ``overrides`` those of the command line.

    Raises:
        SettingsError: a preset or method is unknown, a name is invalid or duplicate, or a method cannot be swept.
    """
    main = resolve(content, overrides)
    sweeps = check_mapping(merge_settings(content, overrides).get("sweeps") or {}, "sweeps")
    for preset in sweeps:
        if preset not in content["presets"]:
            raise SettingsError(f"sweeps.{preset}: {unknown_name(preset, content['presets'], 'preset')}")
    sweeps_of_preset = sweeps.get(main.preset) or {}
    variants: dict[str, Variants] = {}
    names: set[str] = set()
    for method, sweep in check_mapping(sweeps_of_preset, f"sweeps.{main.preset}").items():
        if method not in METHODS:
            raise SettingsError(f"sweeps.{main.preset}: {unknown_name(method, METHODS, 'method')}")
        if METHODS[method].together:
            raise SettingsError(
                f"sweeps.{main.preset}.{method}: {method} learns all tasks in one training, and a sweep trains "
                "them one by one; sweep another method"
            )
        for name, changes in check_mapping(sweep, f"sweeps.{main.preset}.{method}").items():
            check_mapping(changes, f"sweeps.{main.preset}.{method}.{name}")
            if not NAME.fullmatch(str(name)):
                raise SettingsError(
                    f"sweeps.{main.preset}.{method}: invalid name {name!r}; use letters, digits, '-' and '.'"
                )
            if name in names:
                raise SettingsError(f"sweeps.{main.preset}: duplicate name {name!r}; rename one variant")
            names.add(name)
        variants[method] = dict(sweep)
    return variants


def vary(content: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> Settings:
    """Return the settings of the variant ``name``, with `Settings.variant` set.

    ``content`` is that of `params.yaml`, ``overrides`` those of the command line.

    Raises:
        SettingsError: the variant is unknown, invalid, or changes a key that a sweep cannot compare.
    """
    main = resolve(content, overrides)
    methods = {
        name: (method, changes)
        for method, sweep in sweeps_of(content, overrides).items()
        for name, changes in sweep.items()
    }
    method, changes = methods[check_name(name, methods, "variant of a sweep")]
    try:
        varied = resolve(content, merge_settings(overrides, changes))
    except SettingsError as error:
        raise SettingsError(f"sweeps: {name}: {error}") from error
    for key in changed_keys(main, varied):
        if key not in CHANGEABLE:
            raise SettingsError(
                f"sweeps: {name}: a variant cannot change {key}; change {', '.join(CHANGEABLE)}, losses of tasks or"
                " the length of the sequence only"
            )
    base_training = (main.seeds[0], shared_base(method), main.base_task)
    trains_base = training_job(varied, *base_training) != training_job(main, *base_training)
    return varied.model_copy(update={"variant": Variant(name=name, trains_base=trains_base)})


def shared_base(method: str) -> str:
    """Return the key in `BASES` of the training that a method starts from.

    If the method starts from the network of another method, that method's training of `BASES` is returned.
    """
    while method not in BASES:
        method = METHODS[method].base_training
    return method


def changed_keys(main: Settings, varied: Settings) -> list[str]:
    """Return the keys whose values differ between a preset and its variant.

    The keys are those of the top level, `tasks.<name>`, and those in `FIXED`, as `base.encoder_weights`. Changes
    that a sweep may always make are left out: losses of tasks and a shorter sequence.
    """
    keys = [key for key in Settings.model_fields if getattr(main, key) != getattr(varied, key)]
    if varied.sequence == main.sequence[: len(varied.sequence)]:
        keys = [key for key in keys if key != "sequence"]
    if "tasks" in keys:
        keys.remove("tasks")
        keys += [f"tasks.{name}" for name in main.tasks if without_loss(main, name) != without_loss(varied, name)]
    for group, names in FIXED.items():
        before, after = getattr(main, group), getattr(varied, group)
        keys += [f"{group}.{key}" for key in names if getattr(before, key) != getattr(after, key)]
    return keys


def without_loss(settings: Settings, task: str) -> dict[str, Any]:
    """Return the settings of a task as a dictionary, without its loss."""
    return settings.tasks[task].model_dump(exclude={"loss"})


def sweep_tables(results: Path) -> list[Path]:
    """Return the tables of sweeps in a preset's folder of results, one per method; see `Layout.sweep`."""
    return sorted(path for path in (results / "sweep").glob("*.csv") if not path.stem.endswith("-settings"))
