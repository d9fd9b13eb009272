"""Trains with a callback of `examples/`, whole and interrupted, and prints whether both cuts are equal bit for bit.

Arguments: `lightning` or `huggingface`, and an empty folder.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from slimyolo.pruning import MacsShare

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(64, 1, 8, 8, generator=generator), torch.randint(10, (64,), generator=generator)


def in_lightning(folder: Path, resume: bool) -> nn.Module:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import ModelCheckpoint

    example = runpy.run_path(str(EXAMPLES / "lightning_callback.py"))
    pictures, classes = data()
    loader = DataLoader(TensorDataset(pictures, classes), batch_size=8)
    torch.manual_seed(1 if resume else 0)
    callback = example["SlimmingCallback"](pictures[:1], MacsShare(0.5))
    keeping = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=4, accelerator="cpu", callbacks=[callback, keeping], accumulate_grad_batches=2, **quiet
    )
    resumed = str(folder / "epoch=0.ckpt") if resume else None
    trainer.fit(example["Digits"](example["make_network"]()), loader, ckpt_path=resumed)
    assert callback.slim.status.step == callback.slim.status.steps == 16
    return callback.slim.cut().model


def in_huggingface(folder: Path, resume: bool) -> nn.Module:
    from transformers import Trainer, TrainingArguments

    example = runpy.run_path(str(EXAMPLES / "huggingface_callback.py"))
    pictures, classes = data()
    training = [{"pixel_values": p, "labels": c} for p, c in zip(pictures, classes, strict=True)]
    torch.manual_seed(1 if resume else 0)
    callback = example["SlimmingCallback"]({"pixel_values": pictures[:1]}, MacsShare(0.5))
    arguments = TrainingArguments(
        str(folder),
        num_train_epochs=4,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        use_cpu=True,
        report_to=[],
        save_strategy="epoch",
        disable_tqdm=True,
    )
    trainer = Trainer(example["make_model"](), arguments, train_dataset=training, callbacks=[callback])
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-4") if resume else None)
    assert callback.slim.status.step == callback.slim.status.steps == 16
    return callback.slim.cut().model


if __name__ == "__main__":
    run = {"lightning": in_lightning, "huggingface": in_huggingface}[sys.argv[1]]
    whole, again = (run(Path(sys.argv[2]), resume).state_dict() for resume in (False, True))
    equal = whole.keys() == again.keys() and all(torch.equal(value, again[name]) for name, value in whole.items())
    print("equal", equal)
