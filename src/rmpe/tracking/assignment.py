"""Exact maximum-weight bipartite matching: of a dense matrix, or of a list of edges."""

from heapq import heappop, heappush
from itertools import pairwise

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


def match_edges(
    rows: NDArray[np.int64], columns: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Pair rows with columns one to one along given edges, with the largest total weight.

    This is `max_weight_matching` for sparse graphs, in time that grows with the number of edges.

    Args:
        rows: ``(E,)``, row of each edge, 0 or more.
        columns: ``(E,)``, its column, 0 or more.
        weights: ``(E,)``, finite. Edges with a weight of 0 or less are never taken.

    Returns:
        Indices of the edges taken, ascending.

    Source: Kuhn, "The Hungarian method" (1955), with shortest augmenting paths as in
    `max_weight_matching`; the prices of rows and columns are never below 0, and what is not paired
    has a price of 0.
    """
    order = np.lexsort([-weights, rows])
    order = order[weights[order] > 0]
    starts = np.flatnonzero(np.diff(rows[order], prepend=-1))
    matching = _Matching(
        np.cumsum(np.diff(rows[order], prepend=-1) != 0) - 1,
        columns[order],
        weights[order],
    )
    for row, (start, end) in enumerate(pairwise([*starts.tolist(), len(order)])):
        matching.add(row, range(start, end))
    return np.sort(order[[edge for edge in matching.edge_of if edge >= 0]])


class _Matching:
    """A best matching of the rows so far, in plain numbers: the searches are too short for arrays.

    Args:
        rows: ``(E,)`` 0, 1, 2 ..., ascending.
        columns: ``(E,)``.
        weights: ``(E,)`` above 0, descending within a row.
    """

    def __init__(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> None:
        self.rows: list[int] = rows.tolist()
        self.columns: list[int] = columns.tolist()
        self.weights: list[float] = weights.tolist()
        self.edges: list[range] = []  # of each row
        self.edge_of: list[int] = []  # the edge that a row is paired by; -1 = none
        self.row_price: list[float] = []
        self.row_of: dict[int, int] = {}  # the row that a column is paired with
        self.column_price: dict[int, float] = {}

    def add(self, row: int, edges: range) -> None:
        """Add the next row and pair it, if that pays."""
        heaviest = edges[0]
        self.edges.append(edges)
        self.edge_of.append(-1)
        self.row_price.append(self.weights[heaviest])
        if self.columns[heaviest] in self.row_of:
            self._augment(row)
        else:
            self._pair(row, heaviest)

    def _pair(self, row: int, edge: int) -> None:
        self.edge_of[row] = edge
        self.row_of[self.columns[edge]] = row

    def _augment(self, start: int) -> None:
        """Pair ``start`` along the shortest path to a free column, or to a row that gives way."""
        rows = {start: 0.0}  # distances of what is reached
        columns: dict[int, float] = {}
        reached_by: dict[int, int] = {}
        passed: dict[int, float] = {}
        heap: list[tuple[float, int]] = []
        row = start
        distance = 0.0
        nearest = self.row_price[start]
        loser = start
        free = -1
        while True:
            ahead = distance + self.row_price[row]
            for edge in self.edges[row]:
                column = self.columns[edge]
                length = ahead + self.column_price.get(column, 0.0) - self.weights[edge]
                if column not in passed and length < min(nearest, columns.get(column, np.inf)):
                    columns[column] = length
                    reached_by[column] = edge
                    heappush(heap, (length, column))
            while heap and heap[0][1] in passed:
                heappop(heap)
            if not heap or heap[0][0] >= nearest:
                break
            distance, column = heappop(heap)
            passed[column] = distance
            if column not in self.row_of:
                nearest = distance
                free = column
                break
            row = self.row_of[column]
            rows[row] = distance
            if distance + self.row_price[row] < nearest:
                nearest = distance + self.row_price[row]
                loser = row
        for row, distance in rows.items():
            self.row_price[row] -= max(0.0, nearest - distance)
        for column, distance in passed.items():
            gain = max(0.0, nearest - distance)
            self.column_price[column] = self.column_price.get(column, 0.0) + gain
        if free < 0 and loser == start:
            return
        if free < 0:
            free = self.columns[self.edge_of[loser]]
            self.edge_of[loser] = -1
        while True:  # flip the pairs along the path
            edge = reached_by[free]
            row = self.rows[edge]
            before = self.edge_of[row]
            self._pair(row, edge)
            if row == start:
                return
            free = self.columns[before]
