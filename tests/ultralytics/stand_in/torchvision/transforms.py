"""Transforms of PIL pictures, as far as training and validation of a classifier name them. Random ones do nothing."""

from enum import Enum

import numpy as np
import torch
from PIL import Image


class InterpolationMode(Enum):
    """How pixels are resampled."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"


class Compose:
    """One transform after the other."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, picture):
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class Resize:
    """To `size`: (height, width), or the shorter side."""

    def __init__(self, size, interpolation=None, **options):
        self.size = size

    def __call__(self, picture):
        if not isinstance(self.size, int):
            return picture.resize((self.size[1], self.size[0]), Image.Resampling.BILINEAR)
        scale = self.size / min(picture.size)
        return picture.resize([max(self.size, round(side * scale)) for side in picture.size], Image.Resampling.BILINEAR)


class CenterCrop:
    """The middle of a picture, `size` × `size`."""

    def __init__(self, size):
        self.size = (size, size) if isinstance(size, int) else tuple(size)

    def __call__(self, picture):
        left, top = (picture.size[0] - self.size[1]) // 2, (picture.size[1] - self.size[0]) // 2
        return picture.crop((left, top, left + self.size[1], top + self.size[0]))


class ToTensor:
    """[3, H, W] float in 0–1."""

    def __call__(self, picture):
        return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


class Normalize:
    """(value − mean) / deviation for each channel."""

    def __init__(self, mean, std, **options):
        self.mean, self.std = (torch.tensor(values)[:, None, None] for values in (mean, std))

    def __call__(self, tensor):
        return (tensor - self.mean) / self.std


class RandomResizedCrop(Resize):
    """Here: the whole picture."""

    def __init__(self, size, **options):
        super().__init__((size, size) if isinstance(size, int) else size)


class _Nothing:
    def __init__(self, *arguments, **options):
        pass

    def __call__(self, picture):
        return picture


RandomHorizontalFlip = RandomVerticalFlip = RandAugment = AugMix = AutoAugment = ColorJitter = RandomErasing = _Nothing
