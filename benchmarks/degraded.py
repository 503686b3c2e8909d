"""How well degraded images are told from good ones: precision and recall on real frames, degraded by drawing.

python benchmarks/degraded.py --frames DIR [DIR ...] [--each 100] [--json OUT]

Every frame is judged as it is, and once degraded in each way. A degraded frame counts as found where its own reason is
given; ``fog`` and ``night`` are no defects of a camera and are shown for what becomes of them.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from m2a_core.images import read_image
from m2a_core.stream.image_quality import BLACK, BLURRED, COVERED, DARK, NOISY, SATURATED, degradation

SUFFIXES = (".jpg", ".jpeg", ".png")


def _blur(image: np.ndarray, share: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), max(1.0, share * image.shape[0]))


def _noise(image: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _fog(image: np.ndarray, density: float) -> np.ndarray:
    depth = np.linspace(1.0, 0.3, image.shape[0])[:, None, None]
    clear = np.exp(-density * depth)
    return (image * clear + 200 * (1 - clear)).astype(np.uint8)


def _cover(image: np.ndarray, side: str, share: float) -> np.ndarray:
    """Something dark and out of focus before a part of the lens."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA)
    dark = cv2.resize(cv2.GaussianBlur(small, (0, 0), 12), (width, height)) // 3 + 20
    across = np.linspace(0, 1, width)[None, :] if side == "left" else np.linspace(0, 1, height)[:, None]
    edge = np.clip((share - (1 - across if side == "bottom" else across)) / 0.05 + 0.5, 0, 1)[..., None]
    mixed: np.ndarray = (dark * edge + image * (1 - edge)).astype(np.uint8)
    return mixed


WAYS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "good": ("", lambda image: image),
    "black": (BLACK, lambda image: image // 14),
    "saturated": (SATURATED, lambda image: np.clip(image.astype(np.int16) * 3 + 120, 0, 255).astype(np.uint8)),
    "covered": (COVERED, lambda image: _blur(image, 0.3) // 3 + 60),
    **{
        f"{share:.0%} covered from the {side}": (COVERED, partial(_cover, side=side, share=share))
        for side in ("left", "bottom", "top")
        for share in (0.3, 0.45, 0.6, 0.9)
    },
    "noise, sigma 10": (NOISY, lambda image: _noise(image, 10)),
    "noise, sigma 20": (NOISY, lambda image: _noise(image, 20)),
    "blur, 0.5 % of the height": (BLURRED, lambda image: _blur(image, 0.005)),
    "blur, 1 % of the height": (BLURRED, lambda image: _blur(image, 0.01)),
    "blur, 2 % of the height": (BLURRED, lambda image: _blur(image, 0.02)),
    "thin fog": ("", lambda image: _fog(image, 1.0)),
    "thick fog": (COVERED, lambda image: _fog(image, 4.0)),
    "night, a fifth of the light": (DARK, lambda image: image // 5),
}


def main() -> None:
    """Print a table, and precision and recall over all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=Path, nargs="+", required=True, help="folders of images")
    parser.add_argument("--each", type=int, default=100, help="frames of each folder (default: %(default)s)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found: dict[str, Counter[str]] = {name: Counter() for name in WAYS}
    best_ms = np.inf
    for folder in args.frames:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        for path in tqdm(random.Random(1).sample(files, min(args.each, len(files))), desc=folder.name):
            image = read_image(path)
            for name, (_, change) in WAYS.items():
                changed = np.ascontiguousarray(change(image))
                start = time.perf_counter()
                found[name][degradation(changed)] += 1
                best_ms = min(best_ms, 1e3 * (time.perf_counter() - start))
    right = sum(found[name][reason] for name, (reason, _) in WAYS.items() if reason)
    defects = sum(found[name].total() for name, (reason, _) in WAYS.items() if reason)
    false = sum(
        count for name, (reason, _) in WAYS.items() if not reason for said, count in found[name].items() if said
    )
    for name, counts in found.items():
        told = ", ".join(f"{said or 'nothing'} {count}" for said, count in counts.most_common())
        print(f"{name:30s} {told}")
    print(f"recall {right / defects:.3f}, precision {right / max(1, right + false):.3f}, fastest {best_ms:.2f} ms")
    if args.json:
        args.json.write_text(json.dumps({name: dict(counts) for name, counts in found.items()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
