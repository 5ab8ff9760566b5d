"""Names of categories: one that has two meanings, and two that differ by their writing alone."""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from palimpsest.errors import SettingsError


@dataclass(frozen=True)
class Category:
    """Entry of the list of categories in a JSON of COCO."""

    identity: str
    name: str
    group: str
    """Supercategory, or the name itself where there is none."""


def merged(categories: Iterable[Category], annotated: Mapping[str, int]) -> tuple[dict[str, str], str | None]:
    """Return the supercategory by name, and the reason why categories cannot be told apart, where they cannot.

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


def members_of(
    name: str, categories: Mapping[str, str], annotated: Mapping[str, int] | None
) -> tuple[list[str], str | None]:
    """Return the categories that a name in `classes` stands for, and a note where it has two meanings.

    A category of this name is taken before the supercategory. A category without annotations that is named like
    the supercategory of others is a placeholder, as Roboflow exports it: the supercategory is taken then.
    """
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
    """Return a line for each name in `classes` that has two meanings: which one is taken."""
    listed = [(name, unicodedata.normalize("NFC", member)) for name in classes for member in classes[name]]
    notes = [(name, members_of(member, categories, annotated)[1]) for name, member in listed]
    return [f"classes.{name}: {note}" for name, note in notes if note]


def refuse_twins(names: Sequence[str], class_of: Mapping[str, int], annotated: Mapping[str, int]) -> None:
    """Raise `SettingsError` where an annotated category in no class has almost the name of one in a class."""
    by_fold = {_folded(category): category for category in class_of}
    for category, count in annotated.items():
        twin = by_fold.get(_folded(category))
        if count and category not in class_of and twin is not None:
            raise SettingsError(
                f"classes.{names[class_of[twin]]}: {twin!r} is listed, but {count} annotations are of "
                f"{category!r}, which differs by capitals and spaces alone; list both or mend the data set"
            )


def _folded(name: str) -> str:
    """Return a name without capitals, spaces and the signs that tools write for spaces."""
    return "".join(name.casefold().replace("_", " ").replace("-", " ").split())
