"""The size of a detector as a record. It needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SizeRecord"]


@dataclass(frozen=True)
class SizeRecord:
    """The size of a detector.

    `macs` are the multiply-accumulate operations of convolutions, linear layers and matrix products for one image of
    `imgsz` × `imgsz` pixels; `uncounted` names operations whose cost is unknown. `params` and `macs` are those of the
    exported network. `training_params` and `training_macs` are what a branch adds that only training reads.
    """

    params: int
    macs: int
    imgsz: int
    uncounted: tuple[str, ...] = ()
    training_params: int = 0
    training_macs: int = 0

    def __repr__(self) -> str:
        return f"SizeRecord({self.params / 1e6:.2f} M parameters, {self.gflops:.2f} GFLOPs at {self.imgsz})"

    @property
    def gflops(self) -> float:
        """2 × GMACs."""
        return 2 * self.macs / 1e9
