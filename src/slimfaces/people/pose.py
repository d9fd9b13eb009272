"""Projects the points of a head onto the picture, and computes the light on its surface.

A head is an ellipsoid in head units (half the width of the face is 1; x to the viewer's right, y down, z towards the
viewer; eyes at y = 0, chin near y = 1.45). Features are given as points (x, y) of its front and projected without
perspective, so that one description serves every yaw, pitch and roll.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Light", "Pose", "Relief", "relief"]

Array: TypeAlias = npt.NDArray[np.float32]

RADII = np.array([1.04, 1.62, 1.16], np.float32)
_RZ, _IX, _IY = float(RADII[2]), float(1 / RADII[0] ** 2), float(1 / RADII[1] ** 2)
LEFT, TOP, RIGHT, BOTTOM = (
    -1.9,
    -2.3,
    1.9,
    2.0,
)  # the area that the low-resolution fields of a head cover, in head units


@dataclass(frozen=True)
class Light:
    """The light of a scene: the direction towards it (screen axes, unit length), its strength (0–1) and the shadow colour.

    `shadow` is the factor (blue, green, red) for a surface that is turned away from the light.
    """

    direction: tuple[float, float, float]
    shadow: tuple[float, float, float]
    gain: float = 1.06

    def field(self, lambert: Array) -> Array:
        """Factors [..., 3] (BGR) for the cosine `lambert` [...] between normal and light."""
        lit = np.clip(lambert * 0.8 + 0.28, 0.0, 1.0)[..., None]
        shadow = np.asarray(self.shadow, np.float32)
        return np.asarray((shadow + (1.0 - shadow) * lit) * self.gain, np.float32)


@dataclass(frozen=True)
class Pose:
    """Rotation of a head: `matrix` takes head axes to screen axes."""

    matrix: Array

    @classmethod
    def turned(cls, yaw: float, pitch: float, roll: float) -> Pose:
        """A pose from degrees: yaw > 0 looks to the viewer's right, pitch > 0 down, roll > 0 tilts clockwise."""
        a, b, c = (math.radians(angle) for angle in (yaw, pitch, roll))
        turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
        nod = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
        tilt = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
        return cls((tilt @ nod @ turn).astype(np.float32))

    def place(self, points: npt.ArrayLike) -> Array:
        """Screen positions [n, 2] of head points [n, 3]."""
        return np.asarray(np.asarray(points, np.float32) @ self.matrix[:2].T, np.float32)

    def surface(self, points: npt.ArrayLike, lift: float | Array = 0.0, hidden: float = 1.0) -> Array:
        """Screen positions [n, 2] of face points (x, y) [n, 2] raised by `lift` above the surface.

        Points on the far side of the head are moved to `hidden` times the distance of its visible edge, so that a shape
        that goes round the head ends at that edge.
        """
        xy = np.asarray(points, np.float32)
        x, y = xy[:, 0], xy[:, 1]
        z = _RZ * np.sqrt(np.maximum(1.0 - x * x * _IX - y * y * _IY, 0.0))
        screen = xy @ self._flat + (z + lift)[:, None] * self._depth
        fx, fy, fz = self._facing
        behind = x * fx + y * fy + z * fz < 0
        if behind.any():
            edge = screen[behind]
            reach = np.sqrt(((edge @ self._inverse) * edge).sum(axis=1))
            screen[behind] = edge * (np.maximum(reach, hidden) / np.maximum(reach, 1e-3))[:, None]
        return np.asarray(screen, np.float32)

    @cached_property
    def _flat(self) -> Array:
        return np.ascontiguousarray(self.matrix[:2, :2].T)

    @cached_property
    def _depth(self) -> Array:
        return np.ascontiguousarray(self.matrix[:2, 2])

    @cached_property
    def _facing(self) -> tuple[float, float, float]:
        x, y, z = (float(value) for value in self.matrix[2] / RADII**2)
        return x, y, z

    @cached_property
    def _inverse(self) -> Array:
        return np.asarray(np.linalg.inv(self.outline_covariance()), np.float32)

    def outline_covariance(self, radii: npt.ArrayLike = RADII) -> Array:
        """Matrix A [2, 2] of the silhouette {A^½ u, |u| = 1} of an ellipsoid with these radii."""
        half = self.matrix[:2] * np.asarray(radii, np.float32)
        return np.asarray(half @ half.T, np.float32)

    def ellipsoid(self, centre: npt.ArrayLike, radii: npt.ArrayLike, count: int = 64) -> Array:
        """Silhouette [count, 2] of an ellipsoid at `centre` (head axes), clockwise from the viewer's right."""
        root = np.linalg.cholesky(self.outline_covariance(radii).astype(np.float64))
        angle = np.linspace(0, 2 * math.pi, count, endpoint=False)
        ring = np.column_stack([np.cos(angle), np.sin(angle)])
        return np.asarray(ring @ root.T + self.place(np.asarray([centre]))[0], np.float32)


@dataclass(frozen=True, kw_only=True)
class Relief:
    """The surface of a head at low resolution; all arrays [rows, columns].

    x, y, z are head coordinates under each cell, `normal` [.., 3] (screen axes) includes nose, eye sockets and lips,
    `smooth` [.., 3] does not; `red` says where the skin is redder, `dark` where little light arrives.
    """

    spacing: float
    x: Array
    y: Array
    z: Array
    normal: Array
    smooth: Array
    red: Array
    dark: Array


def relief(pose: Pose, spacing: float, *, lines: float = 0.0, broad: float = 0.5) -> Relief:
    """The lit surface of a head in this pose, cells `spacing` head units apart.

    `lines` 0–1 deepens folds beside nose and mouth, `broad` 0–1 widens the nose.
    """
    columns = np.arange(LEFT, RIGHT, spacing, dtype=np.float32)
    rows = np.arange(TOP, BOTTOM, spacing, dtype=np.float32)
    screen_x, screen_y = np.meshgrid(columns, rows)
    m = pose.matrix / RADII[None, :]
    a = [screen_x * m[0, k] + screen_y * m[1, k] for k in range(3)]
    b = m[2]
    bb = float(b @ b)
    ab = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    aa = a[0] ** 2 + a[1] ** 2 + a[2] ** 2
    depth = (-ab + np.sqrt(np.maximum(ab * ab - bb * (aa - 1.0), 0.0))) / bb
    unit = [a[k] + depth * b[k] for k in range(3)]
    length = np.maximum(np.sqrt(unit[0] ** 2 + unit[1] ** 2 + unit[2] ** 2), 1.0)
    x, y, z = (unit[k] / length * RADII[k] for k in range(3))
    smooth = np.stack([x / RADII[0] ** 2, y / RADII[1] ** 2, z / RADII[2] ** 2], axis=-1)
    smooth /= np.linalg.norm(smooth, axis=-1, keepdims=True)
    chart = _face_chart(round(lines * 2) / 2, round(broad * 2) / 2)
    size = chart.shape[0]
    column = np.clip(((x + 1.3) / 2.6 * size).astype(np.int32), 0, size - 1)
    row = np.clip(((y + 1.7) / 3.4 * size).astype(np.int32), 0, size - 1)
    cell = chart[row, column] * (z > 0)[..., None]
    bumped = smooth.copy()
    bumped[..., :2] -= cell[..., :2]
    bumped /= np.linalg.norm(bumped, axis=-1, keepdims=True)
    turn = pose.matrix.T
    return Relief(
        spacing=spacing,
        x=x,
        y=y,
        z=z,
        normal=bumped @ turn,
        smooth=smooth @ turn,
        red=cell[..., 2],
        dark=cell[..., 3],
    )


@lru_cache(maxsize=16)
def _face_chart(lines: float, broad: float) -> Array:
    """[size, size, 4] over x ±1.3, y ±1.7: slopes of the face's relief in x and y, redness, darkness."""
    size = 192
    x, y = np.meshgrid(
        (np.arange(size, dtype=np.float32) + 0.5) / size * 2.6 - 1.3,
        (np.arange(size, dtype=np.float32) + 0.5) / size * 3.4 - 1.7,
    )

    def blob(at_x: float, at_y: float, sx: float, sy: float) -> Array:
        return np.asarray(np.exp(-(((np.abs(x) - at_x) / sx) ** 2) - ((y - at_y) / sy) ** 2), np.float32)

    nose_width = 0.105 + 0.05 * broad
    ridge = np.clip((y + 0.32) / 0.75, 0, 1) ** 1.3 * (1 / (1 + np.exp((y - 0.52) / 0.035)))
    spread = nose_width * (0.85 + 0.75 * np.clip((y + 0.1) / 0.6, 0, 1))
    height = 0.26 * ridge * np.exp(-((x / spread) ** 2))
    height += 0.10 * blob(nose_width * 1.45, 0.45, 0.08, 0.075)
    height -= 0.13 * blob(0.42, -0.03, 0.24, 0.15) - 0.055 * blob(0.43, 0.02, 0.17, 0.09)
    height += 0.045 * blob(0.42, -0.27, 0.30, 0.09) + 0.085 * blob(0.56, 0.36, 0.28, 0.22)
    height += 0.05 * blob(0.0, 0.77, 0.24, 0.06) + 0.06 * blob(0.0, 0.93, 0.22, 0.065)
    height -= 0.04 * blob(0.0, 1.05, 0.2, 0.05) - 0.09 * blob(0.0, 1.22, 0.23, 0.15)
    height -= 0.05 * blob(0.0, 0.63, 0.05, 0.06)
    fold = np.exp(-(((np.abs(x) - (0.24 + 0.42 * np.clip(y - 0.42, 0, 1))) / 0.05) ** 2)) * blob(0.33, 0.66, 0.3, 0.2)
    height -= (0.02 + 0.06 * lines) * fold
    height -= 0.05 * blob(0.62, 0.75, 0.2, 0.22) * (0.4 + lines)
    step_x, step_y = 2.6 / size, 3.4 / size
    slope_y, slope_x = np.gradient(height, step_y, step_x)
    red = 0.9 * blob(0.52, 0.42, 0.25, 0.2) + 0.7 * blob(0.0, 0.42, 0.16, 0.12) + 0.3 * blob(0.0, 1.2, 0.25, 0.15)
    dark = (
        0.35 * blob(0.27, -0.06, 0.14, 0.1) + 0.30 * blob(0.43, -0.13, 0.22, 0.06) + 0.5 * blob(0.0, 0.60, 0.2, 0.045)
    )
    dark += 0.3 * blob(0.0, 1.05, 0.18, 0.05) + (0.10 + 0.18 * lines) * blob(0.42, 0.16, 0.17, 0.05)
    dark += (0.12 + 0.35 * lines) * fold
    return np.stack([slope_x * 0.75, slope_y * 0.75, red, dark], axis=-1).astype(np.float32)
