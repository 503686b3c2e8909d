"""CVAT's own export, "CVAT for images 1.1": ``annotations.xml`` with polygons, boxes of pixels and ellipses."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from m2a_core.data.coco import integer
from m2a_core.data.own.frames import UNSPLIT, Listing, OwnFrame, Truth, sequence_of, split_named, splits_in
from m2a_core.data.own.naming import Categories
from m2a_core.errors import DataError, shown
from m2a_core.files import plain_name, relative_path
from m2a_core.images import read_bytes
from m2a_core.labels.coco_masks import segmentation_mask
from m2a_core.labels.label_file import LabelFile
from m2a_core.labels.label_map import VOID

LAYOUT = """\
ROOT/annotations.xml                     (CVAT for images 1.1: Export task dataset, with pictures)
ROOT/images/FILE                         (as the export has them; a subset of CVAT, train or val, is the split)
or an export per split: ROOT/{train,val}/annotations.xml and ROOT/{train,val}/images/FILE"""

_SHAPES = ("polygon", "mask", "box", "ellipse")


def list_cvat(root: Path, file: LabelFile) -> Listing:
    """List the frames.

    Shapes are drawn by their z-order. What none covers is void, unless the classes have one called ``background``;
    polylines, points and skeletons are left out, and that is noted.

    Args:
        root: see `LAYOUT`.
        file: the classes.

    Raises:
        DataError: the XML is malformed, or names a label that no class takes.
    """
    listing = Listing()
    for folder, split in ((root, ""), *((root / name, name) for name in splits_in(root))):
        path = folder / "annotations.xml"
        if path.is_file():
            _list(listing, folder, path, split, file)
    return listing


def _list(listing: Listing, folder: Path, path: Path, split: str, file: LabelFile) -> None:
    data = read_bytes(path)
    # Entities could stand for gigabytes; CVAT writes none.
    if b"<!ENTITY" in data or b"<!DOCTYPE" in data:
        raise DataError(f"{path}: declares entities, which CVAT's export does not; export it again")
    try:
        tree = ET.fromstring(data)
    except ET.ParseError as error:
        raise DataError(f"{path}: not XML ({error}); expected the export 'CVAT for images 1.1'") from error
    if tree.find("track") is not None:
        raise DataError(f"{path}: holds tracks, the export 'CVAT for video'; export it as 'CVAT for images 1.1'")
    categories = Categories(file, path)
    # Tasks of one project may have images of one name, each in the folder of its subset.
    seen: set[Path | tuple[str, str]] = set()
    pictures, other = folder / "images", 0
    for entry in tree.iter("image"):
        name, subset_name = relative_path(entry.get("name"), path), entry.get("subset", "")
        if subset_name:
            plain_name(subset_name, path)
        image = next((p for p in (pictures / name, pictures / subset_name / name, folder / name) if p.is_file()), None)
        identity = image or (subset_name, name)
        words = (split, subset_name, *name.split("/")[:-1])
        subset = next((found for found in map(split_named, words) if found), UNSPLIT)
        if identity in seen:
            listing.problems.append(f"{path}: two annotations of {name}; keep one")
        elif image is None:
            listing.problems.append(f"{path}: {name}: there is no {pictures / name}")
        else:
            shapes = [shape for shape in entry if shape.tag in _SHAPES]
            other += sum(shape.tag not in (*_SHAPES, "tag") for shape in entry)
            shapes.sort(key=lambda shape: integer(shape.get("z_order", "0"), f"{path}: {name}: z_order"))
            drawn = [(shape, categories.of(shape.get("label", ""))) for shape in shapes]
            height, width = (integer(entry.get(key, "0"), f"{path}: {name}: {key}") for key in ("height", "width"))
            stated = (height, width)
            read = functools.partial(_draw, drawn, file, stated, f"{path}: {name}")
            plain = Path(name).with_suffix("").as_posix()
            folder_name = "" if split_named(plain.split("/")[0]) and plain.count("/") < 2 else str(Path(plain).parent)
            sequence = sequence_of(Path(plain).name, "" if folder_name == "." else folder_name)
            listing.frames.append(OwnFrame(plain.replace("/", "_"), subset, sequence, image, read))
        seen.add(identity)
    if other:
        listing.notes.append(f"{path}: {other} polylines, points or others cover no area and are left out")


def _draw(
    shapes: list[tuple[ET.Element, int]], file: LabelFile, stated: tuple[int, int], where: str, size: tuple[int, int]
) -> Truth:
    if stated != (0, 0) and stated != tuple(size):
        raise DataError(f"{where}: annotated at {stated[1]}x{stated[0]} pixels, its image is {size[1]}x{size[0]}")
    names = [name.casefold() for name in file.labels.names]
    label = np.full(size, names.index("background") if "background" in names else VOID, np.uint8)
    instances = np.zeros(size, np.int32)
    groups: dict[str, int] = {}
    for number, (shape, class_id) in enumerate(shapes, start=1):
        try:
            mask = _mask(shape, size)
        except (KeyError, ValueError, OverflowError, DataError) as error:
            reason = error if isinstance(error, DataError) else shown(error)
            raise DataError(f"{where}: a {shape.tag} of '{shape.get('label')}' cannot be drawn ({reason})") from error
        # Shapes of one group are the parts of one object.
        group = shape.get("group_id", "0")
        mine = number if group == "0" else groups.setdefault(group, number)
        label[mask] = class_id
        instances[mask] = mine if class_id in file.labels.things else 0
    return Truth(label, instances)


def _mask(shape: ET.Element, size: tuple[int, int]) -> np.ndarray:
    get = shape.attrib.__getitem__
    match shape.tag:
        case "polygon":
            points = [float(value) for point in get("points").split(";") for value in point.split(",")]
            return segmentation_mask([points], size, "its points") > 0
        case "box":
            x0, y0, x1, y1 = (float(get(key)) for key in ("xtl", "ytl", "xbr", "ybr"))
            if x0 >= x1 or y0 >= y1:
                raise DataError("its corners are not top left and bottom right")
            corners = _turned(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), shape)
            return segmentation_mask([corners.ravel().tolist()], size, "its corners") > 0
        case "ellipse":
            center, axes = (float(get("cx")), float(get("cy"))), (float(get("rx")), float(get("ry")))
            angles = np.linspace(0, 2 * np.pi, 73)[:-1]
            outline = np.array(center) + np.array(axes) * np.stack([np.cos(angles), np.sin(angles)], 1)
            return segmentation_mask([_turned(outline, shape).ravel().tolist()], size, "its outline") > 0
        case _:
            left, top, width, height = (int(float(get(key))) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in get("rle").split(",")]
            if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
                raise DataError("it reaches beyond the image")
            if min(runs, default=-1) < 0 or sum(runs) != width * height or width < 1:
                raise DataError("its run lengths do not fill its box")
            mask = np.zeros(size, bool)
            inside = np.repeat(np.arange(len(runs)) % 2 > 0, runs).reshape(height, width)
            mask[top : top + height, left : left + width] = inside
            return mask


def _turned(points: np.ndarray, shape: ET.Element) -> np.ndarray:
    """Points [N, 2] turned by the shape's ``rotation``, in degrees clockwise, about their middle."""
    if not np.isfinite(points).all():
        raise ValueError("its place is no number")
    angle = np.deg2rad(float(shape.get("rotation", "0")))
    middle = (points.min(0) + points.max(0)) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: np.ndarray = (points - middle) @ turn + middle
    return turned
