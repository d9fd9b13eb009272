"""d12: compares losses, assignments and gradients of anchor-free heads and networks, and the one-to-many share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from parity_forms.comparing import Comparison, arrays_of, built, compared, filled_, fixture_image, same
from slimyolo.families.yolov8.assignment import AssignmentRule
from slimyolo.families.yolov8.loss import AnchorFreeLoss, gains_of, one_to_many_share
from slimyolo.models import LossSettings
from slimyolo.training import Progress

__all__ = ["compare_loss"]

Arrays = Mapping[str, npt.NDArray[Any]]
_ITEMS, _GRADIENTS, _NETWORKS = 1e-5, 1e-4, 1e-3


def compare_loss(numbers: Mapping[str, Any], arrays: Arrays) -> Iterator[Comparison]:
    """Compare every case, every whole network and every table of shares in the fixture."""
    for name, about in numbers.items():
        if isinstance(about, dict) and "topk2" in about:
            yield from _case(f"d12/{name}", about, arrays_of(arrays, name), numbers["gains"])
        elif name.startswith("e2e_weights_epochs"):
            yield from _shares(f"d12/{name}", int(name.removeprefix("e2e_weights_epochs")), about["after_n_updates"])
    for name, about in numbers.get("models", {}).items():
        yield from _network(f"d12/{name}", name, about, numbers)


def _case(name: str, about: Mapping[str, Any], arrays: Arrays, gains: Mapping[str, float]) -> Iterator[Comparison]:
    boxes, scores = (torch.from_numpy(arrays[key]).clone().requires_grad_() for key in ("boxes", "scores"))
    targets = torch.from_numpy(arrays["targets"])
    raw = _levels(about, boxes, scores)
    rule = AssignmentRule(
        topk=about["topk"], kept=about["topk2"], smallest_side=about["strides"][min(1, len(about["strides"]) - 1)]
    )
    loss = AnchorFreeLoss(about["nc"], about["reg_max"], about["strides"], gains_of(gains), rule=rule)
    parts = loss(raw, targets)
    parts.total.backward()
    assigned = loss.assign(raw, targets)
    for item, value in about["items"].items():
        found = float(parts.items[item.removesuffix("_loss")])
        yield Comparison(f"{name}/{item}", abs(found - value) / max(abs(value), 1e-12) if value else abs(found), _ITEMS)
    yield compared(f"{name}/total", [float(parts.total.detach())], [about["total_sum"]], _ITEMS)
    for values, key in ((boxes, "grad_boxes"), (scores, "grad_scores")):
        wanted = torch.from_numpy(arrays[key])
        gradient = values.grad if values.grad is not None else torch.zeros_like(values)
        away = float((gradient - wanted).norm()) / max(float(wanted.norm()), 1e-12)
        yield Comparison(f"{name}/{key}", away, _GRADIENTS)
    positive = torch.from_numpy(arrays["fg_mask"])
    yield Comparison(f"{name}/fg_mask", float((assigned.positive != positive).sum()), 0.0)
    first = torch.searchsorted(targets[:, 0].contiguous(), torch.arange(len(positive)).to(targets.dtype))
    index = (assigned.target - first[:, None])[positive]
    wanted_index = torch.from_numpy(arrays["target_gt_idx"])[positive].long()
    yield Comparison(f"{name}/target_gt_idx", float((index != wanted_index).sum()), 0.0)
    if len(targets):
        labels = targets[:, 1].long()[assigned.target][positive]
        wanted_labels = torch.from_numpy(arrays["target_labels"])[positive].long()
        yield Comparison(f"{name}/target_labels", float((labels != wanted_labels).sum()), 0.0)
        chosen = assigned.boxes[assigned.target[positive]]
        yield compared(f"{name}/target_bboxes", chosen, arrays["target_bboxes_fg"], 1e-5)
    wanted_quality = torch.from_numpy(arrays["target_scores"]).sum(-1)
    yield compared(f"{name}/target_scores", assigned.quality, wanted_quality, _GRADIENTS)


def _levels(about: Mapping[str, Any], boxes: Tensor, scores: Tensor) -> list[Tensor]:
    flat, start, levels = torch.cat((boxes, scores), 1), 0, []
    for stride in about["strides"]:
        ny, nx = about["h"] // stride, about["w"] // stride
        levels.append(flat[:, :, start : start + ny * nx].unflatten(2, (ny, nx)))
        start += ny * nx
    return levels


def _shares(name: str, epochs: int, table: list[list[float]]) -> Iterator[Comparison]:
    ours = [[one_to_many_share(epoch, epochs), 1 - one_to_many_share(epoch, epochs)] for epoch in range(len(table))]
    yield compared(name, ours, table, 1e-12, relative=False)


def _network(name: str, model: str, about: Mapping[str, Any], numbers: Mapping[str, Any]) -> Iterator[Comparison]:
    """Compare a network in training mode: loss items, total, gradient norms, and running statistics after the step."""
    case = numbers["model_case"]
    detector = built(model, case["nc"])
    filled_(detector, int(case.get("fill_seed", numbers.get("seed", 0))), {})
    detector.train()
    images = fixture_image(int(case["images"]["seed"]), tuple(case["images"]["shape"]))
    loss = detector.family.make_loss(detector, LossSettings(hyp=numbers["gains"], imgsz=max(images.shape[2:])))
    parts = loss(detector(images), torch.tensor(case["targets"], dtype=torch.float32), Progress(0, 10, 0, 1))
    parts.total.backward()
    for item, value in about["items"].items():
        yield compared(f"{name}/{item}", [float(parts.items[item.removesuffix("_loss")])], [value], _NETWORKS)
    yield compared(f"{name}/total", [float(parts.total.detach())], [about["total_sum"]], _NETWORKS)
    gradients = {key: value.grad for key, value in detector.named_parameters()}
    norms = {key: float(value.norm()) for key, value in gradients.items() if value is not None}
    whole = about["grad_norm"]
    yield Comparison(f"{name}/grad_norm", abs(sum(n**2 for n in norms.values()) ** 0.5 - whole) / whole, _NETWORKS)
    wanted = about["param_grad_l2"]
    yield same(f"{name}/parameters with a gradient", sorted(norms), sorted(wanted))
    worst = max((abs(norms.get(key, 0.0) - value) for key, value in wanted.items()), default=0.0)
    yield Comparison(f"{name}/param_grad_l2", worst / whole, _NETWORKS)
    state = detector.state_dict()
    for key, (mean, deviation) in about.get("running_stats_after_mean_std", {}).items():
        values = state[key].double()
        found = [float(values.mean()), float(values.std())]
        yield compared(f"{name}/{key}", found, [mean, deviation], _NETWORKS)
