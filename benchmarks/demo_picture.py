"""Draws the moving picture of the README: the demo's clip with what the model finds, and its score.

python benchmarks/demo_picture.py [--model BUNDLE] [--out docs/pictures/demo.webp]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from m2a_core.bundle.loading import DEFAULT_MODEL
from m2a_core.compose.clip import load_clip
from m2a_core.overlay import draw_overlay, draw_scores
from m2a_core.perception import Perception
from m2a_core.types import FarEnd, Frame

CLIP = Path(__file__).parent.parent / "config" / "demo"
PANEL = (420, 236)
EVERY, SHOWN_MS, QUALITY = 2, 200, 55


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures/demo.webp"))
    args = parser.parse_args()
    perception, clip = Perception.load(args.model), load_clip(CLIP)
    pictures: list[Image.Image] = []
    last: FarEnd | None = None
    for number in range(len(clip)):
        image = clip.image(number)
        result = perception.infer(Frame(image, stamp_ns=10**9 + number * 10**8), last=last)
        last = None if result.horizon is None else result.horizon.far_end
        assert result.score is not None
        if number % EVERY == 0:
            panels = (draw_overlay(image, result, perception.labels), draw_scores(result.score))
            small = [cv2.resize(panel, PANEL, interpolation=cv2.INTER_AREA) for panel in panels]
            pictures.append(Image.fromarray(np.hstack(small)))
    pictures[0].save(
        args.out, save_all=True, append_images=pictures[1:], duration=SHOWN_MS, loop=0, quality=QUALITY, method=6
    )


if __name__ == "__main__":
    main()
