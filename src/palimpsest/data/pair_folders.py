"""Layouts of a data set of pairs: folders of inputs, of targets, or of joint files with both halves.

The role of a folder is ``input`` or ``target``. Names of folders are compared with the tables `ROLES` and `SPLITS`,
ignoring case.

    <split>/<role>     train/input, train/target; train/A, train/B
    <role>/<split>     A/train, B/train
    <split><role>      trainA, trainB; train_input, train_target; A_train, B_train
    <role>             input, target; inputs, targets; A, B
    <split>            train, val: files with both halves side by side
    the folder itself  files with both halves side by side

Of several folders of one role the one with an `UNAMBIGUOUS` name is used. If a folder of a role has two or more
splits (also as train2017), other folders and pictures in it are ignored. A note lists them.
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
"""Names of the folders of inputs and of targets."""

UNAMBIGUOUS = frozenset({"input", "inputs", "target", "targets"})
"""Unambiguous names of roles. A folder of such a name has precedence; without a counterpart it is an error."""

SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Names of the folders of splits."""

KNOWN_LAYOUTS = (
    "known layouts are train/input and train/target, input/train and target/train, trainA and trainB, input and "
    "target (also inputs, A, source, images; targets, B, output, labels, gt), each with val and test alike, and "
    "files with both halves side by side in the folder itself or in train and val"
)
"""List of the layouts for messages."""

Folders = dict[str, list[Path]]
"""Folders by role or split."""


@dataclass(frozen=True)
class SplitFolders:
    """Folders with the pairs of a split: `input` and `target`, or only `joint`."""

    input: Path | None = None
    target: Path | None = None
    joint: Path | None = None
    """Folder of files that contain both halves side by side."""

    def describe(self, root: Path) -> str:
        """Return the folders in words for the log, relative to ``root``."""
        if self.joint is not None:
            return f"both halves in each file of {_relative(self.joint, root)}"
        assert self.input is not None and self.target is not None
        return f"inputs in {_relative(self.input, root)}, targets in {_relative(self.target, root)}"


@dataclass(frozen=True)
class PairFolders:
    """Folders of a data set of pairs."""

    splits: dict[str, SplitFolders | DataError]
    """Folders by split, or the error that the reader has to raise if the split is used."""
    undivided: SplitFolders | None
    """Folders of pairs to be divided into train and val; None if there is a folder of train or val."""
    notes: tuple[str, ...] = ()
    """Lines for the log: ignored folders and pictures."""


def find_pair_folders(root: Path, joint_only: bool = False) -> PairFolders:
    """Return the folders of pairs below ``root``, by their names; with ``joint_only`` each file has both halves.

    Raises:
        DataError: a folder has no counterpart, or layouts are mixed; the message names folders and known layouts.
    """
    split_folders: Folders = {}
    by_split: dict[str, Folders] = {}
    undivided: Folders = {}
    notes: list[str] = []
    for folder in _folders(root):
        split, role = split_and_role(folder.name)
        if split and not role:
            split_folders.setdefault(split, []).append(folder)
        if joint_only:
            continue
        subfolders = (
            _in_split(folder, split) if split and not role else _in_role(folder, role, notes) if role else []
        )
        if role and not split and not subfolders:
            undivided.setdefault(role, []).append(folder)
        for of_split, of_role, path in [(split, role, folder)] if split and role else subfolders:
            by_split.setdefault(of_split, {}).setdefault(of_role, []).append(path)
    splits = {
        split: _folders_of_split(root, split_folders.get(split, []), by_split.get(split, {}), notes)
        for split in SPLITS
        if split in by_split or split in split_folders
    }
    if not splits.keys() & {"train", "val"}:
        folders_of_pairs = _separate(root, undivided, notes) or SplitFolders(joint=root)
        return PairFolders(splits, folders_of_pairs, tuple(notes))
    if len(undivided) == 2:
        divided = [path for folders in (split_folders, *by_split.values()) for path in _paths(folders)]
        raise _ambiguous(root, [*_paths(undivided), *divided])
    return PairFolders(splits, None, tuple(notes))


def split_and_role(name: str) -> tuple[str | None, str | None]:
    """Return the split and the role that the name of a folder denotes; None for a missing one.

    Names such as ``trainA``, ``train_A`` and ``A-train`` denote both, other names one or none.
    """
    plain = _plain(Path(name))
    if plain in SPLIT_OF or plain in ROLE_OF:
        return SPLIT_OF.get(plain), ROLE_OF.get(plain)
    if match := re.fullmatch(rf"({_ANY_SPLIT})[ _-]?({_ANY_ROLE})", plain):
        return SPLIT_OF[match[1]], ROLE_OF[match[2]]
    if match := re.fullmatch(rf"({_ANY_ROLE})[ _-]?({_ANY_SPLIT})", plain):
        return SPLIT_OF[match[2]], ROLE_OF[match[1]]
    return None, None


def _by_alias(table: dict[str, tuple[str, ...]]) -> dict[str, str]:
    return {alias: name for name, aliases in table.items() for alias in aliases}


SPLIT_OF, ROLE_OF = _by_alias(SPLITS), _by_alias(ROLES)
_ANY_SPLIT, _ANY_ROLE, _ANY_UNAMBIGUOUS = (
    "|".join(sorted(names, key=len, reverse=True)) for names in (SPLIT_OF, ROLE_OF, UNAMBIGUOUS)
)


def _paths(folders: Folders) -> list[Path]:
    return [path for paths in folders.values() for path in paths]


def _folders_of_split(
    root: Path, folders: list[Path], roles: Folders, notes: list[str]
) -> SplitFolders | DataError:
    try:
        separate = _separate(root, roles, notes)
    except DataError as error:
        return error
    if separate is None and len(folders) > 1:
        return _ambiguous(root, folders)
    return separate or SplitFolders(joint=folders[0])


def _separate(root: Path, roles: Folders, notes: list[str]) -> SplitFolders | None:
    """Return the folders of inputs and of targets among ``roles``; None unless both roles occur.

    Of several folders of one role the unambiguous name is used; a line in ``notes`` names the ignored folders.

    Raises:
        DataError: a folder has no counterpart, no name is unambiguous, or both roles are one folder.
    """
    if len(roles) < 2:
        of_split = [path for path in _paths(roles) if split_and_role(path.name)[0] or _numbered_split(path)]
        unmatched = of_split or [path for path in _paths(roles) if _plain(path) in UNAMBIGUOUS]
        if unmatched:
            missing = "target" if "input" in roles else "input"
            raise DataError(
                f"{unmatched[0]}: has no folder of {missing}s beside it; add one of the same form, as "
                f"{'B for A' if missing == 'target' else 'A for B'} or {missing}; {KNOWN_LAYOUTS}"
            )
        return None
    if any(len(paths) > 1 for paths in roles.values()):
        unambiguous = {role: [path for path in paths if _is_unambiguous(path)] for role, paths in roles.items()}
        if any(len(paths) != 1 for paths in unambiguous.values()):
            raise _ambiguous(root, _paths(roles))
        ignored = ", ".join(
            sorted(_relative(path, root) for path in _paths(roles) if path not in _paths(unambiguous))
        )
        used = " and ".join(_relative(path, root) for path in _paths(unambiguous))
        notes.append(f"{ignored}: ignored, since {used} is used")
        roles = unambiguous
    (inputs,), (targets,) = roles["input"], roles["target"]
    if os.path.realpath(inputs) == os.path.realpath(targets):
        raise DataError(
            f"{targets}: is a link to the folder {inputs.name}; replace it by a folder of target pictures"
        )
    return SplitFolders(input=inputs, target=targets)


def _ambiguous(root: Path, folders: Iterable[Path]) -> DataError:
    names = ", ".join(sorted({_relative(path, root) for path in folders}))
    return DataError(
        f"{root}: several layouts of pairs ({names}); keep one and move the others away; {KNOWN_LAYOUTS}"
    )


def _in_split(folder: Path, split: str) -> list[tuple[str, str, Path]]:
    """Return split, role and path of the folders of inputs and targets in the folder of a split."""
    named = [(ROLE_OF.get(_plain(path)), path) for path in _folders(folder)]
    return [(split, role, path) for role, path in named if role]


def _in_role(folder: Path, role: str, notes: list[str]) -> list[tuple[str, str, Path]]:
    """Return split, role and path of the folders of splits in a folder of inputs or of targets.

    Folders of splits are used if ``folder`` contains nothing else, or at least two splits; a line in ``notes``
    lists the ignored content. A single folder of a split beside other folders may be a class, such as railway
    trains; it is not used.
    """
    subfolders = _folders(folder)
    exact = [(split, role, path) for path in subfolders if (split := SPLIT_OF.get(_plain(path)))]
    numbered = [(split, role, path) for path in subfolders if (split := _numbered_split(path))]
    if not numbered:
        return []
    files = (path for entry in entries_of(folder) if (path := Path(entry.path)).is_file())
    pictures = sorted(path.name for path in files if is_picture(path))
    splits = [path.name for _, _, path in numbered]
    remaining = [path.name for path in subfolders if path.name not in splits] + pictures
    if not remaining and len(exact) == len(subfolders):
        return numbered
    if len({split for split, _, _ in numbered}) < 2:
        notes.append(f"{folder.name}: {', '.join(splits)} is not used as a split, since it is the only one")
        return []
    if remaining:
        examples = ", ".join(remaining[:5]) + (", …" if len(remaining) > 5 else "")
        notes.append(f"{folder.name}: ignored beside the splits {', '.join(splits)}: {len(remaining)} ({examples})")
    return numbered


def _numbered_split(path: Path) -> str | None:
    """Return the split of a folder named as ``train``, ``train2017`` or ``train_1``; None for other names."""
    match = re.fullmatch(rf"({_ANY_SPLIT})[ _-]?[0-9]*", _plain(path))
    return SPLIT_OF[match[1]] if match else None


def _is_unambiguous(path: Path) -> bool:
    """Return whether a folder has its role from one of the `UNAMBIGUOUS` names, in its own name or its parent's."""
    name = rf"(?:(?:{_ANY_SPLIT})[ _-]?)?(?:{_ANY_UNAMBIGUOUS})|(?:{_ANY_UNAMBIGUOUS})[ _-]?(?:{_ANY_SPLIT})"
    role = path if split_and_role(path.name)[1] else path.parent  # A/train
    return bool(re.fullmatch(name, _plain(role)))


def _plain(path: Path) -> str:
    return unicodedata.normalize("NFC", path.name).strip().casefold()


def _folders(root: Path) -> list[Path]:
    folders = (Path(entry.path) for entry in entries_of(root) if is_folder(entry))
    return sorted(path for path in folders if not path.name.startswith(".") and _plain(path) not in JUNK_FOLDERS)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path != root else path.name


class PairChecks(DatasetChecks[DatasetSettings]):
    """Checks of data sets of pairs before any work."""

    def splits(self, labelled: bool) -> Collection[str]:
        """Return all names of splits that the reader accepts (`SPLITS`), whatever the folder contains."""
        return [*SPLIT_OF]

    def split_name(self, name: str) -> str:
        """Return the name in lower case, because names of folders are compared ignoring case."""
        return name.casefold()
