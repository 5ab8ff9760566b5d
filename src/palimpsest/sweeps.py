"""Sweeps: settings of a method that are compared with those of its preset.

    sweeps:
      mini:                # the preset
        piggyback:         # the method
          momentum-0.9: { method_settings: { piggyback: { score_beta1: 0.9 } } }

A variant is what a preset's settings become with others laid over; `snakemake sweep` trains and measures it.
"""

import re
from collections.abc import Mapping
from typing import Any

from palimpsest.errors import SettingsError, known
from palimpsest.methods import BASE, METHODS
from palimpsest.params import laid_over, mapping, resolve
from palimpsest.settings import Settings, Variant

Variants = dict[str, Mapping[str, Any]]
"""What is laid over, by the variant's name."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
COMPARED = ("network", "base", "training", "method_settings")
"""What a variant may change: all else decides what is learned or measured, and figures could not be compared."""
PLACES = {"base": ("encoder_weights",), "training": ("threads", "accelerator", "devices")}
"""And what of these it may not: files, and the machine."""


def sweeps_of(content: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Variants]:
    """The variants of the chosen preset, by method; of methods that the settings name.

    Raises:
        SettingsError: a method or a name is impossible, or a name stands twice.
    """
    main = resolve(content, overrides)
    chosen = mapping(laid_over(content, overrides).get("sweeps") or {}, "sweeps").get(main.preset) or {}
    found: dict[str, Variants] = {}
    names: set[str] = set()
    for method, sweep in mapping(chosen, f"sweeps.{main.preset}").items():
        known(method, METHODS, f"method of sweeps.{main.preset}:")
        for name, changes in mapping(sweep, f"sweeps.{main.preset}.{method}").items():
            mapping(changes, f"sweeps.{main.preset}.{method}.{name}")
            if not NAME.fullmatch(str(name)):
                raise SettingsError(
                    f"sweeps.{main.preset}.{method}: {name!r} is no name of letters, digits, - and ."
                )
            if name in names:
                raise SettingsError(f"sweeps.{main.preset}: {name} stands twice")
            names.add(name)
        if method in main.methods:
            found[method] = dict(sweep)
    return found


def vary(content: Mapping[str, Any], overrides: Mapping[str, Any], name: str) -> Settings:
    """The settings of one variant.

    Raises:
        SettingsError: there is no such variant, or it changes what cannot be compared.
    """
    main = resolve(content, overrides)
    variants = {
        name: changes for sweep in sweeps_of(content, overrides).values() for name, changes in sweep.items()
    }
    changes = variants[known(name, variants, "variant of a sweep")]
    try:
        varied = resolve(content, laid_over(overrides, changes))
    except SettingsError as error:
        raise SettingsError(f"sweeps: {name}: {error}") from error
    for key in changed(main, varied):
        if key not in COMPARED:
            raise SettingsError(f"sweeps: {name}: changes {key}; a sweep compares {', '.join(COMPARED)} alone")
    seed, first = main.seeds[0], main.base_task
    own_base = varied.lesson(seed, BASE, first) != main.lesson(seed, BASE, first)
    return varied.model_copy(update={"variant": Variant(name=name, own_base=own_base)})


def changed(one: Settings, other: Settings) -> list[str]:
    """The settings in which two differ; of groups that can be compared also what in them cannot."""
    keys = [key for key in Settings.model_fields if getattr(one, key) != getattr(other, key)]
    for group, names in PLACES.items():
        before, after = getattr(one, group), getattr(other, group)
        keys += [f"{group}.{key}" for key in names if getattr(before, key) != getattr(after, key)]
    return keys
