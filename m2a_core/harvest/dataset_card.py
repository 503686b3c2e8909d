"""The card of an export: what is in it, where it is from, how to use it, what to be careful with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from m2a_core import __version__
from m2a_core.harvest.choices import CLASS, FALSE_ALARM, OUTLIER
from m2a_core.harvest.folder import Harvest

if TYPE_CHECKING:
    from m2a_core.harvest.export import NamedObjects

_MEANING = {
    OUTLIER: "stays unknown: `outliers/`",
    FALSE_ALARM: "known, was taken for unknown: `hard_negatives/`",
    CLASS: "to become a known class: `classes/`",
}


def dataset_card(harvest: Harvest, named: Sequence[NamedObjects], images: int, crops: int, too_small: int) -> str:
    """Markdown with the head that Hugging Face reads.

    Args:
        harvest: where the objects are from.
        named: what became of each name.
        images: images of ``classes/``.
        crops: those of them that are crops.
        too_small: cut-outs left out as too small.
    """
    bags = sorted(set().union(*(entry.bags for entry in named)))
    rows = [
        f"| {entry.name} | {_MEANING[entry.kind]} | {entry.objects} | {entry.files} | {entry.duplicates} | "
        f"{len(entry.bags)} |"
        for entry in named
    ]
    kinds = {entry.kind for entry in named}
    parts = [
        _HEAD,
        f"Unknown objects that the model `{harvest.model.get('name')}` met in {len(bags)} bags, named by a person, "
        f"written by m2a {__version__}.\n",
        "| name | what it is | objects | files | near-duplicates left out | bags |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
        "",
        f"Harvest `{harvest.hash}`, model `{harvest.model.get('onnx_sha256')}`. Cut-outs left out as too small: "
        f"{too_small}. Bags: {', '.join(bags[:20])}{' ...' if len(bags) > 20 else ''}.\n",
        _TRAINING.format(keys="\n".join(_keys(kinds))) if kinds & {OUTLIER, FALSE_ALARM} else "",
        _CLASSES.format(images=images, crops=crops) if CLASS in kinds else "",
        _CARE,
    ]
    return "\n".join(parts)


def _keys(kinds: set[str]) -> list[str]:
    lines = ["data:"]
    if OUTLIER in kinds:
        lines += ["  outliers:", "    more_roots: [THIS_FOLDER/outliers]"]
    if FALSE_ALARM in kinds:
        lines += ["  hard_negatives:", "    roots: [THIS_FOLDER/hard_negatives]", "    prob: 0.5"]
    return lines


_HEAD = """\
---
task_categories:
- image-segmentation
tags:
- open-set
- anomaly-segmentation
- m2a
---
# Unknown objects, named
"""

_TRAINING = """\
## Training

Keys for the configuration of `m2a train`, folders relative to its data root:

```yaml
{keys}
```

Cut-outs are RGBA, cropped to the object; `train.csv` has `kind` (the name), `foot` and `size`: the row of the lower
edge and the longer side, as shares of the frame's height.
"""

_CLASSES = """\
## New classes

{images} images ({crops} of them crops: whole frames are not kept without `m2a harvest --keep-frames`)
in `classes/images/default`, objects with run lengths in
`classes/annotations/instances_default.json`. Only the named objects are annotated: everything else in these images is
unlabelled, not background. Correct the masks and label the rest before training.

- CVAT: upload the images as a task, then the JSON file as annotations in the format "COCO 1.0".
- FiftyOne: `fo.Dataset.from_dir(dataset_type=fo.types.COCODetectionDataset, data_path="classes/images/default",
  labels_path="classes/annotations/instances_default.json", label_types="segmentations")`.
- pycocotools: `COCO("classes/annotations/instances_default.json")`.
"""

_CARE = """\
## What to be careful with

- Masks are the model's own; a person named them and did not draw them. Objects that the model missed are not here.
- Objects of one drive are alike: hold whole drives apart for measuring, never frames.
- The pictures are from public roads: people and plates may be in them. Their terms are those of your recordings; m2a
  sends nothing anywhere.
"""
