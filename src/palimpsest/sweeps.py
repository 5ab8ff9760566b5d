"""Sweeps: settings of a method that are compared with those of its preset.

    sweeps:
      mini:                # the preset
        piggyback:         # the method
          momentum-0.9: { method_settings: { piggyback: { score_beta1: 0.9 } } }

A variant is what a preset's settings become with others laid over; `snakemake sweep` trains and measures it. Its
name is its folder's, and unique across the methods of a preset. A shorter sequence saves time where its first tasks
say enough.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.errors import SettingsError, known, nearest
from palimpsest.jobs import training_job
from palimpsest.methods import BASES, METHODS
from palimpsest.params import laid_over, mapping, resolve
from palimpsest.settings import Settings, Variant

Variants = dict[str, Mapping[str, Any]]
"""What is laid over, by the variant's name."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
COMPARED = ("network", "networks", "base", "autoencoder", "training", "method_settings")
"""What a variant may change, beside the loss of its tasks and the length of the sequence: all else decides what is
learned or measured, and figures could not be compared."""
PLACES = {"base": ("encoder_weights",), "training": ("threads", "accelerator", "devices")}
"""And what of these it may not: files, and the machine."""


def sweeps_of(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Variants]:
    """The variants of the chosen preset, by method.

    Raises:
        SettingsError: a method or a name is impossible, a name stands twice, or a method cannot be swept.
    """
    main = resolve(content, overrides)
    sweeps = mapping(laid_over(content, overrides).get("sweeps") or {}, "sweeps")
    for preset in sweeps:
        if preset not in content["presets"]:
            raise SettingsError(
                f"sweeps.{preset}: there is no preset {preset!r}{nearest(preset, content['presets'])}"
            )
    chosen = sweeps.get(main.preset) or {}
    found: dict[str, Variants] = {}
    names: set[str] = set()
    for method, sweep in mapping(chosen, f"sweeps.{main.preset}").items():
        known(method, METHODS, f"method of sweeps.{main.preset}:")
        if METHODS[method].together:
            raise SettingsError(
                f"sweeps.{main.preset}.{method}: {method} learns all tasks in one training, and a sweep trains "
                "them one by one; sweep another method"
            )
        for name, changes in mapping(sweep, f"sweeps.{main.preset}.{method}").items():
            mapping(changes, f"sweeps.{main.preset}.{method}.{name}")
            if not NAME.fullmatch(str(name)):
                raise SettingsError(
                    f"sweeps.{main.preset}.{method}: {name!r} is no name of letters, digits, - and ."
                )
            if name in names:
                raise SettingsError(f"sweeps.{main.preset}: {name} stands twice")
            names.add(name)
        found[method] = dict(sweep)
    return found


def vary(content: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> Settings:
    """The settings of one variant.

    Raises:
        SettingsError: there is no such variant, or it changes what cannot be compared.
    """
    main = resolve(content, overrides)
    methods = {
        name: (method, changes)
        for method, sweep in sweeps_of(content, overrides).items()
        for name, changes in sweep.items()
    }
    method, changes = methods[known(name, methods, "variant of a sweep")]
    try:
        varied = resolve(content, laid_over(overrides, changes))
    except SettingsError as error:
        raise SettingsError(f"sweeps: {name}: {error}") from error
    for key in changed(main, varied):
        if key not in COMPARED:
            raise SettingsError(
                f"sweeps: {name}: changes {key}; a sweep compares {', '.join(COMPARED)}, losses of tasks and"
                " shorter sequences alone"
            )
    base, first, seed = shared_base(method), main.base_task, main.seeds[0]
    own_base = training_job(varied, seed, base, first) != training_job(main, seed, base, first)
    return varied.model_copy(update={"variant": Variant(name=name, own_base=own_base)})


def shared_base(method: str) -> str:
    """The training of `BASES` that a method stands on, be it by way of another method."""
    while method not in BASES:
        method = METHODS[method].base
    return method


def changed(one: Settings, other: Settings) -> list[str]:
    """The settings in which two differ; of groups that can be compared what in them cannot."""
    keys = [key for key in Settings.model_fields if getattr(one, key) != getattr(other, key)]
    if other.sequence == one.sequence[: len(other.sequence)]:
        keys = [key for key in keys if key != "sequence"]
    if "tasks" in keys:
        keys.remove("tasks")
        keys += [f"tasks.{name}" for name in one.tasks if but_for_loss(one, name) != but_for_loss(other, name)]
    for group, names in PLACES.items():
        before, after = getattr(one, group), getattr(other, group)
        keys += [f"{group}.{key}" for key in names if getattr(before, key) != getattr(after, key)]
    return keys


def but_for_loss(settings: Settings, task: str) -> dict[str, Any]:
    """What a task is, whatever loss it is learned by."""
    return settings.tasks[task].model_dump(exclude={"loss"})


def measured_below(results: Path) -> list[Path]:
    """The tables of sweeps in a preset's folder of results, one for each method; see `Layout.sweep`."""
    return sorted(path for path in (results / "sweep").glob("*.csv") if not path.stem.endswith("-settings"))


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings as one: `{"base": {"steps": 3}}` → `{"base.steps": 3}`."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inner = flat(value) if isinstance(value, Mapping) else {"": value}
        found |= {f"{key}.{rest}".rstrip("."): leaf for rest, leaf in inner.items()}
    return found
