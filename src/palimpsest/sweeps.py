"""Sweeps: variants of a preset's settings, each compared with the preset for one method.

    sweeps:
      mini:                # the preset
        piggyback:         # the method
          momentum-0.9: { method_settings: { piggyback: { score_beta1: 0.9 } } }

A variant overrides settings of its preset; `snakemake sweep` trains and measures it. Its name is also the name of
its folder, so it is unique across the methods of a preset. A shorter sequence saves time if the first tasks suffice
for the comparison.
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
"""Overrides of each variant, by its name."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
COMPARED = ("network", "networks", "base", "autoencoder", "training", "method_settings")
"""Groups that a variant may change, beside losses of tasks and the length of the sequence: all else decides what is
learned or measured, and figures could not be compared."""
PLACES = {"base": ("encoder_weights",), "training": ("threads", "accelerator", "devices")}
"""Keys within `COMPARED` that a variant may not change: files, and the machine."""


def sweeps_of(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Variants]:
    """Return the variants of the chosen preset, by method.

    Raises:
        SettingsError: a preset or method is unknown, a name is invalid or duplicate, or a method cannot be swept.
    """
    main = resolve(content, overrides)
    sweeps = mapping(laid_over(content, overrides).get("sweeps") or {}, "sweeps")
    for preset in sweeps:
        if preset not in content["presets"]:
            raise SettingsError(
                f"sweeps.{preset}: there is no preset {preset!r}{nearest(preset, content['presets'])}"
            )
    chosen = sweeps.get(main.preset) or {}
    variants: dict[str, Variants] = {}
    names: set[str] = set()
    for method, sweep in mapping(chosen, f"sweeps.{main.preset}").items():
        if method not in METHODS:
            raise SettingsError(f"sweeps.{main.preset}: there is no method {method!r}{nearest(method, METHODS)}")
        if METHODS[method].together:
            raise SettingsError(
                f"sweeps.{main.preset}.{method}: {method} learns all tasks in one training, and a sweep trains "
                "them one by one; sweep another method"
            )
        for name, changes in mapping(sweep, f"sweeps.{main.preset}.{method}").items():
            mapping(changes, f"sweeps.{main.preset}.{method}.{name}")
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
    """Return the settings of one variant.

    Raises:
        SettingsError: there is no such variant, or it changes a key that a sweep cannot compare.
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
                f"sweeps: {name}: a variant cannot change {key}; change {', '.join(COMPARED)}, losses of tasks or"
                " the length of the sequence only"
            )
    base, first, seed = shared_base(method), main.base_task, main.seeds[0]
    own_base = training_job(varied, seed, base, first) != training_job(main, seed, base, first)
    return varied.model_copy(update={"variant": Variant(name=name, own_base=own_base)})


def shared_base(method: str) -> str:
    """Return the training of `BASES` that a method builds on, directly or through another method."""
    while method not in BASES:
        method = METHODS[method].base
    return method


def changed(main: Settings, varied: Settings) -> list[str]:
    """Return the keys that a variant changes, without losses of tasks and a shorter sequence.

    They are keys of the top level, `tasks.<name>`, and those listed in `PLACES`.
    """
    keys = [key for key in Settings.model_fields if getattr(main, key) != getattr(varied, key)]
    if varied.sequence == main.sequence[: len(varied.sequence)]:
        keys = [key for key in keys if key != "sequence"]
    if "tasks" in keys:
        keys.remove("tasks")
        keys += [f"tasks.{name}" for name in main.tasks if but_for_loss(main, name) != but_for_loss(varied, name)]
    for group, names in PLACES.items():
        before, after = getattr(main, group), getattr(varied, group)
        keys += [f"{group}.{key}" for key in names if getattr(before, key) != getattr(after, key)]
    return keys


def but_for_loss(settings: Settings, task: str) -> dict[str, Any]:
    """Return the settings of a task without its loss."""
    return settings.tasks[task].model_dump(exclude={"loss"})


def measured_below(results: Path) -> list[Path]:
    """Return the tables of sweeps in a preset's folder of results, one per method; see `Layout.sweep`."""
    return sorted(path for path in (results / "sweep").glob("*.csv") if not path.stem.endswith("-settings"))


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings under dotted keys: `{"base": {"steps": 3}}` → `{"base.steps": 3}`."""
    leaves: dict[str, Any] = {}
    for key, value in settings.items():
        inner = flat(value) if isinstance(value, Mapping) else {"": value}
        leaves |= {f"{key}.{rest}".rstrip("."): leaf for rest, leaf in inner.items()}
    return leaves
