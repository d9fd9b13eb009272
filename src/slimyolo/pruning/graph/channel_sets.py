"""Union-find over channel ids, on arrays. Id 0 stands for "kept whole": a set that is joined to it is kept, too."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["ChannelSets"]


class ChannelSets:
    """Disjoint sets of channel ids. The smallest id represents a set, so a set joined to 0 is frozen."""

    def __init__(self) -> None:
        self._parent = np.zeros(1, dtype=np.int64)

    def fresh(self, count: int) -> Tensor:
        """`count` new ids, each alone."""
        start = len(self._parent)
        self._parent = np.concatenate([self._parent, np.arange(start, start + count)])
        return torch.arange(start, start + count)

    def find(self, ids: Tensor) -> Tensor:
        """Representatives of `ids`, same shape."""
        roots = self._roots(ids.numpy())
        return torch.from_numpy(roots)

    def join(self, first: Tensor, second: Tensor) -> None:
        """Join the sets of `first` and `second` element by element (broadcasting)."""
        left, right = np.broadcast_arrays(self._roots(first.numpy()), self._roots(second.numpy()))
        different = left != right
        if not different.any():
            return
        for a, b in set(zip(left[different].tolist(), right[different].tolist(), strict=True)):
            root_a, root_b = self._root(a), self._root(b)
            self._parent[max(root_a, root_b)] = min(root_a, root_b)

    def freeze(self, ids: Tensor) -> None:
        """Keep the channels of `ids` whole."""
        if ids.numel():
            self.join(torch.unique(ids), torch.zeros((), dtype=torch.int64))

    def _root(self, item: int) -> int:
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = int(parent[item])
        return item

    def _roots(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        roots: npt.NDArray[np.int64] = np.asarray(self._parent[ids])
        while True:
            above = np.asarray(self._parent[roots])
            if np.array_equal(above, roots):
                return roots
            roots = above
