"""Replays of bags with coloured objects, for the tests of harvesting."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from m2a_ros.main import main
from test.replay.bags import Sent, raw, write_bag

RED, ORANGE, PINK = (255, 0, 0), (255, 50, 0), (255, 0, 50)
"""All within what the tiny bundle takes for an unknown object."""


def road(size: tuple[int, int] = (96, 128)) -> np.ndarray:
    """Blue sky over green road."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[: size[0] // 2], rgb[size[0] // 2 :] = (0, 0, 255), (0, 255, 0)
    return rgb


def wide(rgb: np.ndarray, x: int, colour: tuple[int, int, int]) -> None:
    rgb[60:72, x : x + 28] = colour


def tall(rgb: np.ndarray, x: int, colour: tuple[int, int, int]) -> None:
    rgb[52:84, x : x + 12] = colour


def round_one(rgb: np.ndarray, x: int, colour: tuple[int, int, int]) -> None:
    cv2.circle(rgb, (x + 10, 66), 10, colour, cv2.FILLED)


KINDS = {"wide red": (wide, RED), "tall orange": (tall, ORANGE), "round pink": (round_one, PINK)}
GAP = 100
"""Frames' times between two objects: more than a track or a duplicate bridges."""


def drive_past(path: Path, kinds: list[str], frames: int = 5) -> Path:
    """A bag that meets one object after the other; each moves a little from frame to frame."""
    sent: list[Sent] = []
    for number, kind in enumerate(kinds):
        draw, colour = KINDS[kind]
        for frame in range(frames):
            rgb = road()
            draw(rgb, 40 + 4 * (number % 5) + 2 * frame, colour)
            sent.append(raw(rgb, number * GAP + frame))
    return write_bag(path, sent)


def replayed(out: Path, bags: list[Path], model: Path) -> Path:
    call = ["replay", *map(str, bags), "--model", str(model), "--threads", "1", "--out", str(out)]
    assert main(call) == 0
    return out
