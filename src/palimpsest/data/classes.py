"""Classes of a task, made of the categories of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from palimpsest.data.categories import members_of
from palimpsest.errors import SettingsError, unknown_name

BACKGROUND = "background"
"""Name of the class of pixels that belong to no other class."""


@dataclass(frozen=True)
class Classes:
    """Mapping of the categories of a data set to classes."""

    names: tuple[str, ...]
    """Names of the classes by label; the first is the background."""

    class_of: Mapping[str, int]
    """Label of each category that is in a class."""

    other_label: int = 0
    """Label of the categories that are in no class: 0 for background, 255 for ignored."""

    notes: tuple[str, ...] = ()
    """Lines for the log about ambiguous names, with their meaning."""

    def members(self, names: Sequence[str]) -> list[str]:
        """Return the categories in the classes of these names."""
        labels = {self.names.index(name) for name in names}
        return [category for category, label in self.class_of.items() if label in labels]


def class_mapping(
    classes: Mapping[str, Sequence[str]] | None,
    categories: Mapping[str, str],
    annotated: Mapping[str, int] | None = None,
) -> tuple[list[str], dict[str, int]]:
    """Return the class names, background first, and the label of each category that is in a class.

    ``classes`` lists categories by class; the name of a supercategory means all its members (`members_of`). If
    ``classes`` is None, each category is a class. ``categories`` has the supercategory of each category.
    ``annotated`` is the number of annotations of each category; None if it is unknown. It decides whether a name
    that a category and a supercategory share means the one or the other (`members_of`).

    Raises:
        SettingsError: a category is unknown or in two classes, or there are more than 254 classes.
    """
    if classes is None:
        classes, annotated = {name: [name] for name in categories}, None
    known_names = sorted({*categories, *categories.values()})
    names = [BACKGROUND, *classes]
    if len(names) > 255:
        raise SettingsError(
            f"classes: {len(classes)} classes, but a label map can hold 254; remove or merge classes"
        )
    class_of: dict[str, int] = {}
    for label, (name, members) in enumerate(classes.items(), start=1):
        for member in members:
            member_categories, _ = members_of(member, categories, annotated)
            if not member_categories:
                raise SettingsError(f"classes.{name}: {unknown_name(member, known_names, 'category')}")
            for category in member_categories:
                if class_of.setdefault(category, label) != label:
                    raise SettingsError(
                        f"classes.{name}: {category!r} is already in {names[class_of[category]]!r}; remove one"
                    )
    return names, class_of
