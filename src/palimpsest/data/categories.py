"""Names of categories: one that has two meanings, and two that differ by their writing alone."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from palimpsest.errors import SettingsError

ALIKE = 0.8
"""Similarity (`difflib`) of two names that are probably one: thing and things, but not boat and goat."""

_SEPARATOR = re.compile(r"(?<!\d)[\s_-]+|[\s_-]+(?!\d)")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Category:
    """Entry of the list of categories in a JSON of COCO."""

    identity: str
    name: str
    group: str
    """Supercategory, or the name itself where there is none."""


def merged(categories: Iterable[Category], annotated: Mapping[str, int]) -> tuple[dict[str, str], str | None]:
    """Return the supercategory by name, and the reason why two categories are confused, where there is one.

    ``annotated`` counts annotations by id. Of several categories of one name at most one may be annotated.
    Equal entries do no harm.
    """
    by_id: dict[str, Category] = {}
    by_name: dict[str, Category] = {}
    for category in categories:
        earlier = by_id.setdefault(category.identity, category)
        if earlier != category:
            reason = f"the id {category.identity} has several categories: {earlier.name!r} and {category.name!r}"
            return {}, f"{reason}; give each category an id of its own"
        namesake = by_name.get(category.name)
        if namesake is not None and namesake != category and annotated.get(namesake.identity):
            if annotated.get(category.identity):
                ids = f"ids {namesake.identity} and {category.identity}"
                reason = f"two categories are named {category.name!r} ({ids}), and both are annotated"
                return {}, f"{reason}; rename one or give all their annotations one id"
            continue
        by_name[category.name] = category
    return {name: category.group for name, category in by_name.items()}, None


def normalized(name: str) -> str:
    """Return a name with composed accents and without spaces around it; some tools write it otherwise."""
    return unicodedata.normalize("NFC", name).strip()


def members_of(
    name: str, categories: Mapping[str, str], annotated: Mapping[str, int] | None
) -> tuple[list[str], str | None]:
    """Return the categories that a name in `classes` stands for, and a note where it has two meanings.

    A category of this name is taken before the supercategory. A category without annotations that is named like
    the supercategory of others is a placeholder, as Roboflow exports it: the supercategory is taken then.
    """
    name = normalized(name)
    others = [category for category, group in categories.items() if group == name and category != name]
    if name not in categories:
        return others, None
    if not others or annotated is None:
        return [name], None
    listed = ", ".join(map(repr, others))
    if annotated.get(name, 0) == 0:
        return [name, *others], f"the category {name!r} has no annotations; its name stands for {listed}"
    return [name], f"{name!r} is read as the category of this name, not as the supercategory of {listed}"


def notes_on(
    classes: Mapping[str, Sequence[str]], categories: Mapping[str, str], annotated: Mapping[str, int]
) -> list[str]:
    """Return a line for each name in `classes` that has two meanings, and for each category that is not listed."""
    listed = [(name, member) for name in classes for member in classes[name]]
    notes = [(name, members_of(member, categories, annotated)[1]) for name, member in listed]
    unlisted = [name for name, count in annotated.items() if count and name not in categories]
    return [
        *(f"classes.{name}: {note}" for name, note in notes if note),
        *(f"others: {annotated[name]} annotations are of {name!r}, which train does not list" for name in unlisted),
    ]


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum of counts by name; names with the count 0 are kept."""
    totals: Counter[str] = Counter()
    for one in counts:
        totals.update(one)
    return dict(totals)


def check_twins(
    classes: Mapping[str, Sequence[str]], class_of: Mapping[str, int], by_split: Sequence[Mapping[str, int]]
) -> list[str]:
    """Check annotated categories in no class whose names almost equal a name that belongs to a class.

    ``by_split`` counts annotations by category, for each split. Where both names are annotated in one split, as
    the letters A and a, they are two categories: a line for the log is returned.

    Raises:
        SettingsError: the two names are not annotated in the same split.
    """
    names = {category: list(classes)[label - 1] for category, label in class_of.items()}
    for name, members in classes.items():
        for member in members:  # also supercategories
            names.setdefault(normalized(member), name)
    by_fold: dict[str, list[str]] = {}
    for name in names:
        by_fold.setdefault(_folded(name), []).append(name)
    notes = []
    for category, count in total(by_split).items():
        twins = by_fold.get(_folded(category), [])
        if not count or category in class_of or not twins:
            continue
        both = [twin for twin in twins if any(one.get(twin) and one.get(category) for one in by_split)]
        twin = (both or twins)[0]
        start = f"classes.{names[twin]}: {twin!r} is listed, but {count} annotations are of {category!r}, which "
        if not both:
            raise SettingsError(
                f"{start}differs by capitals, spaces, _ or - alone; list both, or rename one in the data set"
            )
        notes.append(f"{start}is in no class; both are annotated in one split and taken for two categories")
    return notes


def look_alike(name: str, names: Iterable[str]) -> bool:
    """Return whether a name almost equals one of these: capitals, spaces, _ and - apart, or by few letters.

    Names with different numbers are different.
    """
    folded = {_folded(other) for other in names}
    same_numbers = [other for other in folded if _NUMBER.findall(other) == _NUMBER.findall(_folded(name))]
    return bool(difflib.get_close_matches(_folded(name), same_numbers, n=1, cutoff=ALIKE))


def _folded(name: str) -> str:
    """Return a name without capitals, spaces and the signs that tools write for spaces, but not between digits."""
    return _SEPARATOR.sub("", name.strip().casefold())
