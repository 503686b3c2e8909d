"""Exact assignment of two small sets to one another.

Our own, because SciPy's ``linear_sum_assignment`` would make SciPy a dependency of the running path for one function,
and OpenCV has none with an exact answer (``cv2.EMD`` iterates in single precision). The method is that of successive
shortest augmenting paths (Jonker and Volgenant, Computing 38, 1987), O(n^3).
"""

from __future__ import annotations

import numpy as np


def assign(affinity: np.ndarray) -> list[tuple[int, int]]:
    """The one-to-one pairs with the largest sum of affinities.

    Args:
        affinity: float [N, M], finite and >= 0; 0 where a row and a column must not be paired.

    Returns:
        Pairs of row and column by ascending row; among equally good answers the order alone decides.
    """
    possible = affinity > 0
    counts = [possible.sum(axis=axis) for axis in (1, 0)]
    if all(count.max(initial=0) <= 1 for count in counts):
        # As a rule nobody has a choice.
        return [(int(row), int(col)) for row, col in np.argwhere(possible)]
    rows, cols = (np.flatnonzero(count) for count in counts)
    cost = -affinity[np.ix_(rows, cols)].astype(np.float64)
    # A pair of affinity 0 changes no sum: everybody of the smaller side gets a partner, and such pairs are dropped.
    if len(rows) <= len(cols):
        pairs = [(int(rows[i]), int(cols[j])) for i, j in enumerate(_cheapest_columns(cost))]
    else:
        pairs = [(int(rows[i]), int(cols[j])) for j, i in enumerate(_cheapest_columns(cost.T))]
    return sorted(pair for pair in pairs if affinity[pair] > 0)


def _cheapest_columns(cost: np.ndarray) -> np.ndarray:
    """A column for every row, all different, of the smallest total cost; needs at least as many columns as rows."""
    rows, cols = cost.shape
    row_price, col_price = np.zeros(rows), np.zeros(cols + 1)
    owner = np.full(cols + 1, -1)  # Row that has a column; the last column stands for the row to be placed.
    for row in range(rows):
        owner[cols], col = row, cols
        shortest, previous = np.full(cols + 1, np.inf), np.full(cols + 1, cols)
        visited = np.zeros(cols + 1, bool)
        while owner[col] >= 0:
            visited[col] = True
            length = np.append(cost[owner[col]] - row_price[owner[col]] - col_price[:cols], np.inf)
            shorter = ~visited & (length < shortest)
            shortest[shorter], previous[shorter] = length[shorter], col
            nearest = int(np.argmin(np.where(visited, np.inf, shortest)))
            step = shortest[nearest]
            row_price[owner[visited]] += step
            col_price[visited] -= step
            shortest[~visited] -= step
            col = nearest
        while col != cols:
            owner[col], col = owner[previous[col]], previous[col]
    result = np.empty(rows, np.int64)
    taken = np.flatnonzero(owner[:cols] >= 0)
    result[owner[taken]] = taken
    return result
