"""Sparsify, cut and fine-tune the `YOLO` of the ultralytics package with its own trainer.

::

    from ultralytics import YOLO
    from slimyolo.pruning import MacsShare
    from slimyolo.ultralytics import finetune_trainer, prune, sparse_trainer

    model = YOLO("best.pt")
    model.train(data="my.yaml", epochs=30, trainer=sparse_trainer(model, MacsShare(0.5)))
    cut = prune(model, MacsShare(0.5), "cut.pt").model
    cut.train(data="my.yaml", epochs=30, trainer=finetune_trainer(cut))

slimyolo does not import that package: these functions work on the objects that they are given.
"""

from slimyolo.ultralytics.cutting import prune
from slimyolo.ultralytics.sparse import sparse_trainer
from slimyolo.ultralytics.widths import finetune_trainer

__all__ = ["finetune_trainer", "prune", "sparse_trainer"]
