"""Layouts of a data set of pairs: folders of inputs, of targets, or of files with both halves.

Names are compared without regard to case, by the two tables below.

    <split>/<role>     train/input, train/target; train/A, train/B
    <role>/<split>     A/train, B/train
    <split><role>      trainA, trainB; train_input, train_target; A_train, B_train
    <role>             input, target; inputs, targets; A, B
    <split>            train, val: files with both halves side by side
    the folder itself  files with both halves side by side

Of several folders of one role the one with a `CLEAR` name counts. In a folder of a role, two or more splits count
(also as train2017), and folders and pictures beside them do not. A note names the others.
"""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from palimpsest.data.checks import DatasetChecks
from palimpsest.data.files import JUNK_FOLDERS, entries_of, is_folder
from palimpsest.data.pictures import is_picture
from palimpsest.data.settings import DatasetSettings
from palimpsest.errors import DataError

ROLES = {
    "input": (
        "input",
        "inputs",
        "in",
        "a",
        "source",
        "sources",
        "src",
        "image",
        "images",
        "img",
        "imgs",
        "lq",
        "x",
    ),
    "target": (
        *("target", "targets", "out", "output", "outputs", "b", "tgt", "label", "labels", "mask", "masks"),
        *("gt", "ground_truth", "groundtruth", "hq", "y"),
    ),
}
"""Names of the folders of inputs and of targets. One of them alone is no layout, but for `CLEAR` ones."""

CLEAR = frozenset({"input", "inputs", "target", "targets"})
"""Unambiguous names: one of them alone lacks its counterpart, and one beside other names of its role is taken."""

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of the folders of splits."""

KNOWN = (
    "known layouts are train/input and train/target, input/train and target/train, trainA and trainB, input and "
    "target (also inputs, A, source, images; targets, B, output, labels, gt), each with val and test alike, and "
    "files with both halves side by side in the folder itself or in train and val"
)
"""The layouts in a message."""

Folders = dict[str, list[Path]]
"""By role or split."""


@dataclass(frozen=True)
class Place:
    """Folders with the pairs of a split: two, or one of files that hold both halves."""

    input: Path | None = None
    target: Path | None = None
    joint: Path | None = None

    def describe(self, root: Path) -> str:
        """Return the layout in words, for the log."""
        if self.joint is not None:
            return f"both halves in each file of {_shown(self.joint, root)}"
        assert self.input is not None and self.target is not None
        return f"inputs in {_shown(self.input, root)}, targets in {_shown(self.target, root)}"


@dataclass(frozen=True)
class PairFolders:
    """The places of a data set of pairs."""

    splits: dict[str, Place | DataError]
    """By split, where there are folders of splits; an error is that of a split that nobody may ask for."""
    whole: Place | None
    """Pairs in no folder of a split; they are dealt out to train and val."""
    notes: tuple[str, ...] = ()
    """Lines for the log: folders and pictures that are passed over."""


def find_pair_folders(root: Path, joint_only: bool = False) -> PairFolders:
    """Find the places by the names of folders; with ``joint_only`` every file holds both halves.

    Raises:
        DataError: a folder has no counterpart, or several layouts are mixed; names folders and the layouts known.
    """
    split_folders: Folders = {}
    by_split: dict[str, Folders] = {}
    whole: Folders = {}
    notes: list[str] = []
    for folder in _folders(root):
        split, role = parsed(folder.name)
        if split and not role:
            split_folders.setdefault(split, []).append(folder)
        if joint_only:
            continue
        inside = _in_split(folder, split) if split and not role else _in_role(folder, role, notes) if role else []
        if role and not split and not inside:
            whole.setdefault(role, []).append(folder)
        for of_split, of_role, path in [(split, role, folder)] if split and role else inside:
            by_split.setdefault(of_split, {}).setdefault(of_role, []).append(path)
    splits = {
        split: _place(root, split_folders.get(split, []), by_split.get(split, {}), notes)
        for split in SPLITS
        if split in by_split or split in split_folders
    }
    if not splits.keys() & {"train", "val"}:
        place = _separate(root, whole, notes) or Place(joint=root)
        return PairFolders(splits, place, tuple(notes))
    if len(whole) == 2:
        divided = [path for folders in (split_folders, *by_split.values()) for path in _all(folders)]
        raise _several(root, [*_all(whole), *divided])
    return PairFolders(splits, None, tuple(notes))


def parsed(name: str) -> tuple[str | None, str | None]:
    """Return the split and the role that a folder's name stands for.

    ``trainA``, ``train_A`` and ``A-train`` have both, other names one or none.
    """
    plain = _plain(Path(name))
    if plain in SPLIT_OF or plain in ROLE_OF:
        return SPLIT_OF.get(plain), ROLE_OF.get(plain)
    if found := re.fullmatch(rf"({_ANY_SPLIT})[ _-]?({_ANY_ROLE})", plain):
        return SPLIT_OF[found[1]], ROLE_OF[found[2]]
    if found := re.fullmatch(rf"({_ANY_ROLE})[ _-]?({_ANY_SPLIT})", plain):
        return SPLIT_OF[found[2]], ROLE_OF[found[1]]
    return None, None


def _by_alias(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {alias: name for name, aliases in table.items() for alias in aliases}


SPLIT_OF, ROLE_OF = _by_alias(SPLITS), _by_alias(ROLES)
_ANY_SPLIT, _ANY_ROLE, _ANY_CLEAR = (
    "|".join(sorted(names, key=len, reverse=True)) for names in (SPLIT_OF, ROLE_OF, CLEAR)
)


def _all(folders: Folders) -> list[Path]:
    return [path for paths in folders.values() for path in paths]


def _place(root: Path, folders: list[Path], roles: Folders, notes: list[str]) -> Place | DataError:
    try:
        found = _separate(root, roles, notes)
    except DataError as error:
        return error
    if found is None and len(folders) > 1:
        return _several(root, folders)
    return found or Place(joint=folders[0])


def _separate(root: Path, roles: Folders, notes: list[str]) -> Place | None:
    """Return the two folders of a split, None where there are none."""
    if len(roles) < 2:
        of_split = [path for path in _all(roles) if parsed(path.name)[0] or _numbered_split(path)]
        alone = of_split or [path for path in _all(roles) if _plain(path) in CLEAR]
        if alone:
            missing = "target" if "input" in roles else "input"
            raise DataError(
                f"{alone[0]}: no folder of {missing}s belongs to it; add one of the same form, as "
                f"{'B for A' if missing == 'target' else 'A for B'} or {missing}; {KNOWN}"
            )
        return None
    if any(len(paths) > 1 for paths in roles.values()):
        clear = {role: [path for path in paths if _is_clear(path)] for role, paths in roles.items()}
        if any(len(paths) != 1 for paths in clear.values()):
            raise _several(root, _all(roles))
        others = ", ".join(sorted(_shown(path, root) for path in _all(roles) if path not in _all(clear)))
        taken = " and ".join(_shown(path, root) for path in _all(clear))
        notes.append(f"{others}: passed over beside {taken}")
        roles = clear
    (one,), (two,) = roles["input"], roles["target"]
    if os.path.realpath(one) == os.path.realpath(two):
        raise DataError(f"{two}: the same folder as {one.name}, by a link; put the target pictures there")
    return Place(input=one, target=two)


def _several(root: Path, folders: Iterable[Path]) -> DataError:
    names = ", ".join(sorted({_shown(path, root) for path in folders}))
    return DataError(
        f"{root}: several layouts of pairs at once ({names}); leave one and move the others away; {KNOWN}"
    )


def _in_split(folder: Path, split: str) -> list[tuple[str, str, Path]]:
    """Return split, role and path of the folders of roles in a folder of a split."""
    named = [(ROLE_OF.get(_plain(path)), path) for path in _folders(folder)]
    return [(split, role, path) for role, path in named if role]


def _in_role(folder: Path, role: str, notes: list[str]) -> list[tuple[str, str, Path]]:
    """Return split, role and path of the folders of splits in a folder of a role.

    They count where the folder holds nothing else, or two splits and more; a note names what else there is. One
    split beside other folders may be a class, as a train.
    """
    inside = _folders(folder)
    exact = [(split, role, path) for path in inside if (split := SPLIT_OF.get(_plain(path)))]
    found = [(split, role, path) for path in inside if (split := _numbered_split(path))]
    if not found:
        return []
    files = (path for entry in entries_of(folder) if (path := Path(entry.path)).is_file())
    pictures = sorted(path.name for path in files if is_picture(path))
    splits = [path.name for _, _, path in found]
    others = [path.name for path in inside if path.name not in splits] + pictures
    if not others and len(exact) == len(inside):
        return found
    if len({split for split, _, _ in found}) < 2:
        notes.append(f"{folder.name}: {', '.join(splits)} is no split here, since there is no other one")
        return []
    if others:
        shown = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
        notes.append(f"{folder.name}: passed over beside the splits {', '.join(splits)}: {len(others)} ({shown})")
    return found


def _numbered_split(path: Path) -> str | None:
    """Return the split that a folder in a folder of a role stands for: ``train``, ``train2017``, ``train_1``."""
    found = re.fullmatch(rf"({_ANY_SPLIT})[ _-]?[0-9]*", _plain(path))
    return SPLIT_OF[found[1]] if found else None


def _is_clear(path: Path) -> bool:
    """Return whether the role in a folder's path has one of the `CLEAR` names."""
    name = rf"(?:(?:{_ANY_SPLIT})[ _-]?)?(?:{_ANY_CLEAR})|(?:{_ANY_CLEAR})[ _-]?(?:{_ANY_SPLIT})"
    role = path if parsed(path.name)[1] else path.parent  # A/train
    return bool(re.fullmatch(name, _plain(role)))


def _plain(path: Path) -> str:
    return unicodedata.normalize("NFC", path.name).strip().casefold()


def _folders(root: Path) -> list[Path]:
    folders = (Path(entry.path) for entry in entries_of(root) if is_folder(entry))
    return sorted(path for path in folders if not path.name.startswith(".") and _plain(path) not in JUNK_FOLDERS)


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.name


class PairChecks(DatasetChecks[DatasetSettings]):
    """Checks of data sets of pairs before any work."""

    def splits(self, labelled: bool) -> Collection[str]:
        """Return every name of a split that is understood; folders may have others than the settings."""
        return [*SPLIT_OF]

    def split_name(self, name: str) -> str:
        """Return the name in lower case: names of folders are compared without regard to case."""
        return name.casefold()
