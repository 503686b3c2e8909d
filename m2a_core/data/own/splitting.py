"""Splits own data by sequence, never by frame, into the folder format."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import yaml

from m2a_core.data.own.frames import OwnDataset, OwnFrame, different
from m2a_core.data.own.opening import CLASSES
from m2a_core.errors import ConfigError, DataError
from m2a_core.files import link_or_copy
from m2a_core.images import write_png
from m2a_core.labels.label_map import VOID
from m2a_core.labels.label_set import LabelSet
from m2a_core.progress import ProgressBar


def sequences(frames: Sequence[OwnFrame], pattern: str = "") -> dict[str, list[OwnFrame]]:
    """Frames by sequence.

    Args:
        frames: to group.
        pattern: regular expression whose first group (or whole match) in a frame's name is its sequence; default: what
            the format says, which is the folder or the name without the number at its end.

    Raises:
        ConfigError: the pattern is none, or does not match a name.
        DataError: there is one sequence only, or every frame is one of its own.
    """
    try:
        rule = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--sequence '{pattern}': not a regular expression ({error})") from error
    found: dict[str, list[OwnFrame]] = defaultdict(list)
    for frame in frames:
        name = frame.sequence
        if pattern:
            match = rule.search(frame.name)
            if match is None:
                raise ConfigError(f"--sequence '{pattern}': does not match the frame '{frame.name}'")
            name = match.group(1) if rule.groups else match.group(0)
            if name is None:
                raise ConfigError(
                    f"--sequence '{pattern}': its first group takes no part in the match of the frame '{frame.name}'; "
                    "write groups that are no sequence as (?:...)"
                )
        found[name].append(frame)
    if len(found) < 2:
        only = next(iter(found), "")
        named = f", '{only}'" if only else ""
        raise DataError(
            f"all {len(frames)} frames are of one sequence{named}: neighbouring frames are alike, so a split within it "
            "would measure what the network remembers. Add another drive, or say what a sequence is: "
            "--sequence REGEX, or a folder each below images"
        )
    if len(frames) > 2 and len(found) == len(frames):
        raise DataError(
            f"each of the {len(frames)} frames would be a sequence of its own, such as '{next(iter(found))}': say what "
            "the frames of one drive share: --sequence REGEX, or a folder each below images"
        )
    return dict(found)


def assign(groups: Mapping[str, Sequence[OwnFrame]], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Sequence -> split, so that each split has about its share of the frames and at least one sequence.

    Args:
        groups: frames by sequence.
        shares: split -> share of the frames, in total less than 1; the rest is ``train``.
        seed: of the draw.

    Raises:
        DataError: there are fewer sequences than splits.
    """
    if len(groups) <= len(shares):
        raise DataError(f"{len(groups)} sequences cannot be {len(shares) + 1} splits; leave one out")
    total = sum(map(len, groups.values()))
    names = sorted(groups)
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    chosen: dict[str, str] = {}
    for split, share in shares.items():
        left = [name for name in order if name not in chosen]
        taken = 0
        for position, name in enumerate(left):
            enough = len(left) - position <= len(shares) - list(shares).index(split)
            # One that overshoots more than it lacks is left out.
            if taken and (enough or abs(taken + len(groups[name]) - share * total) >= abs(taken - share * total)):
                continue
            chosen[name] = split
            taken += len(groups[name])
    return {name: chosen.get(name, "train") for name in names}


def write_split(
    dataset: OwnDataset, groups: Mapping[str, Sequence[OwnFrame]], splits: Mapping[str, str], out: Path
) -> None:
    """Write a root of the folder format: images as hard links where possible, masks and instances as PNG.

    Args:
        dataset: where the frames are from.
        groups: frames by sequence.
        splits: sequence -> split.
        out: the new root; must not exist, or be empty.

    Raises:
        DataError: a frame cannot be read, or a file cannot be written.
        ConfigError: the folder holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: is not empty; name a new folder")
    frames = [(frame, splits[name]) for name, group in groups.items() for frame in group]
    try:
        out.mkdir(parents=True, exist_ok=True)
        twice = {name for name, count in Counter(frame.name for frame, _ in frames).items() if count > 1}
        # Frames of two splits may share a name.
        names = different([f"{frame.split}_{frame.name}" if frame.name in twice else frame.name for frame, _ in frames])
        bar = ProgressBar(frames, desc="split", unit="frame", dynamic_ncols=True, leave=False)
        for (frame, split), name in zip(bar, names, strict=True):
            _write(frame, out, split, name)
        # Last: without it, nobody takes the part that a stopped split left for the whole.
        (out / CLASSES).write_text(classes_text(dataset.file.labels), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{error.filename2 or error.filename or out}: cannot be written ({error.strerror})") from error


def classes_text(labels: LabelSet) -> str:
    """The classes' file of masks that hold the class ids."""
    classes = [
        {"name": name, "id": i, "color": list(labels.colors[i]), "thing": i in labels.things}
        for i, name in enumerate(labels.names)
    ]
    content = {
        "name": labels.name,
        "classes": classes,
        "void": VOID,
        "road": None if labels.road is None else labels.names[labels.road],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _write(frame: OwnFrame, out: Path, split: str, name: str) -> None:
    image, truth = frame.read()
    picture = out / "images" / split / f"{name}{frame.image.suffix}"
    picture.parent.mkdir(parents=True, exist_ok=True)
    if frame.aspect is not None:
        write_png(picture.with_suffix(".png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    else:
        link_or_copy(frame.image, picture)
    write_png(out / "masks" / split / f"{name}.png", truth.label)
    if truth.instances is not None:
        _, numbers = np.unique(np.append(0, truth.instances), return_inverse=True)
        stored = numbers[1:].reshape(truth.label.shape).astype(np.uint16)
        write_png(out / "instances" / split / f"{name}.png", stored)
