"""Where a model fails on the demo's clip, as a picture: its worst frames, open-set classes left and anomaly right.

    python benchmarks/failure_cases.py --out docs/pictures/failures.jpg

The frames with the most pixels on the wrong side of the anomaly threshold, some apart. True objects are outlined
in cyan: without orange inside they are missed; orange outside of an outline is a false alarm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.compose.clip import load_clip
from m2a_core.overlay import draw_overlay
from m2a_core.perception import Perception
from m2a_core.types import Frame, OpenSetResult, Output

CLIP = Path(__file__).parent.parent / "config" / "demo"
TRUTH = (0, 255, 255)
WIDTH = 640
FRAMES_APART = 8


def main() -> None:
    """Write the picture and say which frames it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="JPEG to write")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--rows", type=int, default=3, help="frames to show (default: %(default)s)")
    args = parser.parse_args()
    clip = load_clip(CLIP)
    perception = Perception.load(args.model)
    wanted = frozenset({Output.ANOMALY, Output.OPEN_SET, Output.UNKNOWN_INSTANCES})
    found = []
    for number in range(len(clip)):
        image, truth = clip.image(number), clip.truth(number)
        result = perception.infer(Frame(image), wanted)
        alarm = result.anomaly >= perception.manifest.thresholds.anomaly
        missed, false = int((~alarm & (truth == 1)).sum()), int((alarm & (truth == 0)).sum())
        found.append((missed + false, number, missed, false, image, truth, result))
    shown: list[int] = []
    rows = []
    for _, number, missed, false, image, truth, result in sorted(found, key=lambda item: -item[0]):
        if len(rows) == args.rows or any(abs(number - other) < FRAMES_APART for other in shown):
            continue
        shown.append(number)
        panels = [
            draw_overlay(image, result, perception.labels),
            draw_overlay(image, OpenSetResult(anomaly=result.anomaly), perception.labels),
        ]
        outlines, _ = cv2.findContours((truth == 1).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for panel in panels:
            cv2.drawContours(panel, outlines, -1, TRUTH, 2)
        height = round(WIDTH * image.shape[0] / image.shape[1])
        rows.append(np.hstack([cv2.resize(panel, (WIDTH, height), interpolation=cv2.INTER_AREA) for panel in panels]))
        print(f"frame {number}: {missed} pixels of objects missed, {false} false")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
