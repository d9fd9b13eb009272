"""Compares rules that choose channels: each cuts the same checkpoint to the same MACs; measured before fine-tuning.

    python benchmarks/prune_rules.py --weights best.pt --data data/mask.yaml --macs 0.85 0.7 0.5 \
        --rules reference gamma l2 taylor fisher fisher/macs [--recalibrate] [--save FOLDER]

"reference" is the rule of the reference project: layers around shortcuts stay whole, channels with a |γ| below one threshold
are removed, and their constants are dropped. "A/B" is importance A divided by the cost in B (`--importance A --per B`). With
--save the cut checkpoints are kept for fine-tuning: slimyolo finetune --weights FOLDER/RULE_MACS.pt …
"""

from __future__ import annotations

import argparse
from contextlib import closing
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from slimyolo.checkpoints import save_checkpoint
from slimyolo.data import EvalBatches, LoaderSettings, read_dataset_yaml, read_split
from slimyolo.evaluation import evaluate_detector
from slimyolo.families import load_checkpoint
from slimyolo.families.yolov5.shortcuts import reference_excluded_batchnorms
from slimyolo.models import Detector
from slimyolo.pruning import (
    ChannelGraph,
    ChannelShare,
    DataImportance,
    MacsShare,
    PrunePlan,
    analyse_constants,
    apply,
    recalibrate_batchnorm_,
    score,
    select,
    trace,
)
from slimyolo.tasks.prune.training_images import detection_loss, spread_batches

RULES = ("reference", "gamma", "l2", "taylor", "fisher", "taylor/macs", "fisher/macs")
ON_DATA = ("taylor", "fisher")


def main() -> None:
    """Cut with each rule, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--macs", type=float, nargs="+", default=[0.85, 0.7, 0.5])
    parser.add_argument("--rules", nargs="+", default=list(RULES), metavar="RULE")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument(
        "--samples", type=int, default=128, help="number of training images for scores and --recalibrate"
    )
    parser.add_argument("--recalibrate", action="store_true", help="also measure with new BatchNorm statistics")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    bench = _Bench(given)
    print(f"{'rule':<14} {'MACs':>6} {'params':>7} {'removed':>8} {'mAP50':>6} {'mAP50-95':>9}", flush=True)
    bench.say("dense", None, bench.detector)
    for share in given.macs:
        for rule in given.rules:
            plan = bench.plan(rule, share)
            cut = apply(bench.detector, plan)
            bench.say(rule, plan, cut)
            if given.recalibrate:
                renewed = deepcopy(cut)
                recalibrate_batchnorm_(renewed, bench.images())
                bench.say("  recalibrated", plan, renewed)
            if given.save is not None:
                given.save.mkdir(parents=True, exist_ok=True)
                path = given.save / f"{rule.replace('/', '-per-')}_{share:g}.pt"
                save_checkpoint(path, cut, provenance={"command": "prune_rules", "plan": plan.summary()})


class _Bench:
    """The checkpoint, its graph and scores, and the images on which it is measured."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.detector = load_checkpoint(given.weights).detector()
        example = torch.zeros(1, 3, given.imgsz, given.imgsz)
        self.graph: ChannelGraph = trace(self.detector, example, forward=Detector.heads)
        self.constants = analyse_constants(self.graph, "carrier")
        dataset = read_dataset_yaml(given.data)
        stride = int(self.detector.stride.max())
        settings = LoaderSettings(imgsz=given.imgsz, batch_size=32, stride=stride)
        with closing(EvalBatches(read_split(dataset, "val"), settings)) as batches:
            self.validation = list(batches)
        self.samples = spread_batches(
            read_split(dataset, "train"), given.samples, imgsz=given.imgsz, batch_size=16, stride=stride
        )
        loss = detection_loss(self.detector, given.imgsz)
        self.measured = {kind: DataImportance(kind, self.samples, loss) for kind in ON_DATA}

    def images(self) -> list[Tensor]:
        return [batch.images.float() / 255 for batch in self.samples]

    def plan(self, rule: str, share: float) -> PrunePlan:
        if rule == "reference":
            return self._reference(share)
        kind, _, per = rule.partition("/")
        scores = (
            self.measured[kind](self.detector, self.graph)
            if kind in ON_DATA
            else score(self.detector, self.graph, kind)
        )
        per = per or "channels"
        return select(self.graph, scores, MacsShare(share), per=per, constants=self.constants, importance=kind)

    def _reference(self, share: float) -> PrunePlan:
        """The reference's rule takes a share of channels. Bisection finds the share that gives the wanted MACs."""
        silent, scores = analyse_constants(self.graph, "none"), score(self.detector, self.graph, "gamma")
        frozen = reference_excluded_batchnorms(self.detector)

        def plan(percent: float) -> PrunePlan:
            return select(
                self.graph, scores, ChannelShare(percent), policy="reference", constants=silent, frozen=frozen
            )

        low, high = 0.001, 0.999
        for _ in range(12):
            middle = (low + high) / 2
            cost = plan(middle)
            if cost.after.macs > share * cost.before.macs:
                low = middle
            else:
                high = middle
        return plan(high)

    def say(self, rule: str, plan: PrunePlan | None, detector: Detector) -> None:
        metrics = evaluate_detector(detector.fused(), self.validation).metrics
        macs, params, removed = (
            (1.0, 1.0, 0)
            if plan is None
            else (
                plan.after.macs / plan.before.macs,
                plan.after.params / plan.before.params,
                plan.removed_channels,
            )
        )
        print(
            f"{rule:<14} {macs:>6.1%} {params:>7.1%} {removed:>8} {metrics.map50:>6.3f} {metrics.map50_95:>9.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
