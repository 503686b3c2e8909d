r"""What a tiling of the queries costs between L2 and L1, counted on real offsets, without a GPU.

    python -m benchmarks.gpu.traffic [--images DIR]

Blocks of 512 threads, FP16. "L2" are the 32-byte sectors that a block touches, each once, as if nothing of another
block were still in its L1; "lines" is the room they take there, of 128-byte lines. "banks" are the cycles that L1 needs
for the eight threads that read 128 bytes together, if its 32 banks of 4 bytes serve different lines as shared memory
does: 1 is the least. Offsets are those of m2a-edge's first encoder layer on images of the demo; ResNet-50's pyramid
takes them too, every query those of the query that lies nearest, the finest level's twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from m2a_core.bundle import load_bundle, shipped_frames
from m2a_core.images import read_image
from m2a_core.preprocess import Letterbox

POINTS = 4
THREADS = 512
SECTOR, LINE = 32, 128
VECTOR = 16
R50 = ((16, 32), (32, 64), (64, 128))
TILINGS = ((4, 4, 8), (8, 4, 4), (8, 8, 2), (8, 16, 1), (4, 8, 8), (8, 8, 4), (8, 16, 2), (16, 16, 1))
"""(rows, columns, heads) of a block: eight heads of 16 queries, as the first version had it, to one head of 256."""

Shapes = tuple[tuple[int, int], ...]


def main() -> None:
    """Print one table for each pyramid."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=shipped_frames(), help="a folder (the demo's)")
    parser.add_argument("--count", type=int, default=3, help="of images, evenly spread")
    args = parser.parse_args()
    paths = sorted(args.images.iterdir())
    shapes, found = trained_offsets([paths[i * len(paths) // args.count] for i in range(args.count)])
    for name, pyramid, dim in (("m2a-edge", shapes, 16), ("ResNet-50 at 512x1024", R50, 32)):
        offsets = [at_pyramid(x, shapes, pyramid) for x in found]
        print(f"{name}: levels {pyramid}, {offsets[0].shape[1]} heads of {dim}, {len(offsets)} images")
        print("tile    heads  blocks  gathered MB  L2 MB  lines a block KiB (mean, most)  banks")
        for rows, columns, heads in TILINGS:
            if rows * columns * heads * dim * 2 // VECTOR == THREADS:
                print_row(pyramid, offsets, (rows, columns), heads, dim)


def print_row(shapes: Shapes, offsets: list[np.ndarray], tile: tuple[int, int], heads: int, dim: int) -> None:
    """Means over images."""
    counts = [list(blocks(shapes, x, tile, heads, dim)) for x in offsets]
    every = np.array([block for image in counts for block in image])
    gathered, sectors = every[:, 0].sum() / len(counts), every[:, 1].sum() / len(counts)
    lines = every[:, 2] * LINE / 1024
    print(
        f"{tile[0]:2d}x{tile[1]:<2d} {heads:6d} {len(counts[0]):8d} {gathered * dim * 2 / 1e6:10.1f} "
        f"{sectors * SECTOR / 1e6:8.2f} {lines.mean():16.0f} {lines.max():6.0f} {every[:, 3].mean():17.2f}"
    )


def trained_offsets(paths: list[Path]) -> tuple[Shapes, list[np.ndarray]]:
    """Levels of m2a-edge, and offsets [S, N, L, P, 2] in cells of the level sampled, for each image."""
    bundle = load_bundle("m2a-edge")
    model = onnx.load(bundle.onnx_path)
    node = next(node for node in model.graph.node if node.op_type == "MSDeformAttn")
    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    sides, heads = given["spatial_shapes"], given["num_heads"]
    shapes = tuple(zip(sides[::2], sides[1::2], strict=True))
    model.graph.output.append(onnx.helper.make_tensor_value_info(node.input[1], onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    letterbox = Letterbox(tuple(image.shape[1:3]))
    found = []
    for path in paths:
        (projection,) = session.run([node.input[1]], {image.name: letterbox.apply(read_image(path))[0][None]})
        columns = 2 * heads * len(shapes) * POINTS
        found.append(projection[0, :, :columns].reshape(-1, heads, len(shapes), POINTS, 2))
    return shapes, found


def at_pyramid(offsets: np.ndarray, own: Shapes, wanted: Shapes) -> np.ndarray:
    """Offsets of another pyramid's queries, levels matched from the coarsest on."""
    if own == wanted:
        return offsets
    starts = np.cumsum([0] + [h * w for h, w in own])
    rows = []
    for level, (height, width) in enumerate(wanted):
        i = min(level, len(own) - 1)
        h, w = own[i]
        plane = offsets[starts[i] : starts[i + 1]].reshape(h, w, *offsets.shape[1:])
        near = plane[np.arange(height)[:, None] * h // height, np.arange(width) * w // width]
        sampled = [min(level, len(own) - 1) for level in range(len(wanted))]
        rows.append(near.reshape(-1, *offsets.shape[1:])[:, :, sampled])
    return np.concatenate(rows)


def blocks(
    shapes: Shapes, offsets: np.ndarray, tile: tuple[int, int], heads: int, dim: int
) -> Iterator[tuple[int, int, int, float]]:
    """Rows gathered, sectors, lines and cycles of eight threads, of each block."""
    starts = np.cumsum([0] + [h * w for h, w in shapes])
    all_heads, row = offsets.shape[1], dim * 2
    for level, (height, width) in enumerate(shapes):
        y, x = np.mgrid[:height, :width]
        for top in range(0, height, tile[0]):
            for left in range(0, width, tile[1]):
                inside = (slice(top, top + tile[0]), slice(left, left + tile[1]))
                keys = (starts[level] + y * width + x)[inside].ravel()
                centre = np.stack([(x[inside].ravel() + 0.5) / width, (y[inside].ravel() + 0.5) / height], -1)
                for head in range(0, all_heads, heads):
                    mine = range(head, min(head + heads, all_heads))
                    places = [
                        cells(centre, offsets[keys][:, mine, sampled], shape) + starts[sampled]
                        for sampled, shape in enumerate(shapes)
                    ]
                    # [queries, heads, samples, corners]; negative where there is no such cell.
                    found = np.concatenate(places, 2)
                    address = (found * all_heads + np.array(mine)[None, :, None, None]) * row
                    address = np.where(found >= 0, address, -1)
                    yield count(address, row)


def cells(centre: np.ndarray, offsets: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Cells of a level that samples touch, [queries, heads, points, 4]; far below zero outside."""
    height, width = shape
    place = centre[:, None, None] * (width, height) - 0.5 + offsets
    first = np.floor(place).astype(np.int64)
    found = []
    for down in (0, 1):
        for right in (0, 1):
            column, line = first[..., 0] + right, first[..., 1] + down
            inside = (column >= 0) & (column < width) & (line >= 0) & (line < height)
            found.append(np.where(inside, line * width + column, -(10**9)))
    return np.stack(found, -1)


def count(address: np.ndarray, row: int) -> tuple[int, int, int, float]:
    """Of one block: rows, sectors and lines, and the cycles for eight threads, mean."""
    valid = address[address >= 0]
    sectors = np.unique(valid) // SECTOR
    lines = np.unique(valid // LINE)
    together = LINE // row
    # Threads that read together: neighbouring heads first, then neighbouring queries.
    flat = address.reshape(-1, *address.shape[2:])
    flat = flat[: len(flat) // together * together].reshape(-1, together, *flat.shape[1:])
    groups = np.moveaxis(flat, 1, -1).reshape(-1, together)
    parts = LINE // row
    cycles = np.zeros(len(groups), np.int64)
    for part in range(parts):
        here = np.where((groups >= 0) & (groups // row % parts == part), groups // LINE, -1)
        here.sort(-1)
        different = (np.diff(here, axis=-1, prepend=-2) != 0) & (here >= 0)
        cycles = np.maximum(cycles, different.sum(-1))
    return len(valid), len(sectors) * (row // SECTOR), len(lines), float(cycles[cycles > 0].mean())


if __name__ == "__main__":
    main()
