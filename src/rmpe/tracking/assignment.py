"""Exact maximum-weight bipartite matching, for a few dozen rows and columns."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def max_weight_matching(weights: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with columns one to one, with the largest total weight.

    Args:
        weights: ``(R, C)``, finite. Pairs with a weight of 0 or less are never made.

    Returns:
        Rows and columns of the pairs, rows ascending.

    Source: Crouse, "On implementing 2D rectangular assignment algorithms", 2016 (shortest
    augmenting paths).
    """
    cost = -np.maximum(np.asarray(weights, np.float64), 0)
    if cost.shape[0] > cost.shape[1]:
        columns, rows = max_weight_matching(-cost.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    row_of = np.full(cost.shape[1], -1)
    column_of = np.full(cost.shape[0], -1)
    row_price = np.zeros(cost.shape[0])
    column_price = np.zeros(cost.shape[1])
    for start in range(cost.shape[0]):
        distance = np.full(cost.shape[1], np.inf)
        parent = np.full(cost.shape[1], -1)
        reached = np.zeros(cost.shape[1], bool)
        row = start
        nearest = 0.0
        while row >= 0:  # Dijkstra over columns until a free one is reached
            through = nearest + cost[row] - row_price[row] - column_price
            shorter = ~reached & (through < distance)
            distance[shorter] = through[shorter]
            parent[shorter] = row
            column = int(np.argmin(np.where(reached, np.inf, distance)))
            nearest = distance[column]
            reached[column] = True
            row = row_of[column]
        row_price[start] += nearest
        visited = np.flatnonzero(reached & (row_of >= 0))
        row_price[row_of[visited]] += nearest - distance[visited]
        column_price[visited] -= nearest - distance[visited]
        while row != start:  # flip the pairs along the augmenting path
            row = row_of[column] = parent[column]
            column_of[row], column = column, column_of[row]
    rows = np.flatnonzero(cost[np.arange(len(cost)), column_of] < 0)
    return rows, column_of[rows]
