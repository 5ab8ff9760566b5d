"""Names of categories: checks for ambiguous names, and for names that differ only in spelling."""

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from palimpsest.errors import SettingsError

ALIKE = 0.8
"""Similarity (`difflib`) above which two names are probably one: thing and things, but not boat and goat."""

_SEPARATOR = re.compile(r"(?<!\d)[\s_-]+|[\s_-]+(?!\d)")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Category:
    """Category in a JSON file of COCO."""

    identity: str
    """Id, as text."""
    name: str
    group: str
    """Supercategory, or the name itself if there is none."""


def merge_categories(
    categories: Iterable[Category], annotated: Mapping[str, int]
) -> tuple[dict[str, str], str | None]:
    """Return the supercategory by name of each category in a JSON file, and the fault of the file's list or None.

    It is a fault if two categories share an id, or share a name and both have annotations; the mapping is then
    empty. Equal entries are merged. ``annotated`` is the number of annotations by id.
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
    """Return a name in Unicode form NFC, without spaces at its ends."""
    return unicodedata.normalize("NFC", name).strip()


def members_of(
    name: str, categories: Mapping[str, str], annotated: Mapping[str, int] | None
) -> tuple[list[str], str | None]:
    """Return the categories that a name in the `classes` of a task means, and a note for the log.

    The list is empty for an unknown name; the note is None unless the name is ambiguous. ``categories`` has the
    supercategory of each category, ``annotated`` the number of annotations by category, None if it is unknown.

    A category takes precedence over a supercategory of the same name. A category without annotations that has the
    name of a supercategory is a placeholder, as Roboflow exports it; the name then means the supercategory.
    """
    name = normalized(name)
    members = [category for category, group in categories.items() if group == name and category != name]
    if name not in categories:
        return members, None
    if not members or annotated is None:
        return [name], None
    listed = ", ".join(map(repr, members))
    if annotated.get(name, 0) == 0:
        return [name, *members], f"the category {name!r} has no annotations; its name means {listed}"
    return [name], f"{name!r} is read as the category of this name, not as the supercategory of {listed}"


def notes_for(
    classes: Mapping[str, Sequence[str]], categories: Mapping[str, str], annotated: Mapping[str, int]
) -> list[str]:
    """Return lines for the log: ambiguous names in the `classes` of a task, and annotated categories not in train.

    ``categories`` has the supercategory of each category that the JSON of train lists. ``annotated`` is the number
    of annotations by category in all splits.
    """
    listed = [(name, member) for name in classes for member in classes[name]]
    notes = [(name, members_of(member, categories, annotated)[1]) for name, member in listed]
    unlisted = [name for name, count in annotated.items() if count and name not in categories]
    return [
        *(f"classes.{name}: {note}" for name, note in notes if note),
        *(f"others: {annotated[name]} annotations are of {name!r}, which train does not list" for name in unlisted),
    ]


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sum over several mappings of the count of each name; sums of 0 are kept."""
    totals: Counter[str] = Counter()
    for split_counts in counts:
        totals.update(split_counts)
    return dict(totals)


def check_similar_names(
    classes: Mapping[str, Sequence[str]], class_of: Mapping[str, int], by_split: Sequence[Mapping[str, int]]
) -> list[str]:
    """Check for annotated categories that are in no class although their name almost equals a listed name.

    ``classes`` are those of a task, ``class_of`` has the label of each category in a class, and ``by_split`` the
    number of annotations by category, for each split. Two names that are both annotated in one split, such as the
    letters A and a, are two categories. The result is a line for the log for each such category.

    Raises:
        SettingsError: no split has annotations of both names; they probably mean one category.
    """
    names = {category: list(classes)[label - 1] for category, label in class_of.items()}
    for class_name, members in classes.items():
        for member in members:  # also supercategories
            names.setdefault(normalized(member), class_name)
    by_fold: dict[str, list[str]] = {}
    for name in names:
        by_fold.setdefault(_folded(name), []).append(name)
    notes = []
    for category, count in total(by_split).items():
        similar = by_fold.get(_folded(category), [])
        if not count or category in class_of or not similar:
            continue
        in_one_split = [
            name for name in similar if any(counts.get(name) and counts.get(category) for counts in by_split)
        ]
        name = (in_one_split or similar)[0]
        start = f"classes.{names[name]}: {name!r} is listed, but {count} annotations are of {category!r}, which "
        if not in_one_split:
            raise SettingsError(
                f"{start}differs only in capitals, spaces, _ or -; list both, or rename one in the data set"
            )
        notes.append(f"{start}is in no class; both are annotated in one split and count as two categories")
    return notes


def is_similar(name: str, names: Iterable[str]) -> bool:
    """Return whether a name differs from one of ``names`` only by capitals, spaces, _, - or a few letters.

    Names with different numbers, such as car 1 and car 2, are not similar.
    """
    folded = {_folded(text) for text in names}
    candidates = [text for text in folded if _NUMBER.findall(text) == _NUMBER.findall(_folded(name))]
    return bool(difflib.get_close_matches(_folded(name), candidates, n=1, cutoff=ALIKE))


def _folded(name: str) -> str:
    """Return a name in lower case without spaces, _ and -; between digits these are kept."""
    return _SEPARATOR.sub("", name.strip().casefold())
