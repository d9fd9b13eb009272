"""Stand-in for torchvision in the tests of `slimyolo.ultralytics`: only what the ultralytics package calls there.

torchvision's wheels on PyPI are built for CUDA and do not load beside the CPU build of torch.
"""

from . import datasets, ops, transforms

__all__ = ["datasets", "ops", "transforms"]
__version__ = "0.28.0"
