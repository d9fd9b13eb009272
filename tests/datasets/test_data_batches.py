"""Properties of the loaders: the same batches whoever makes them, and truth that fits the pictures."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from slimyolo.data import (
    Augmentation,
    Batch,
    EvalBatches,
    LoaderSettings,
    Sharding,
    SplitData,
    TrainBatches,
    class_balance_weights,
    image_weights_of_classes,
    letterbox,
    read_dataset_yaml,
    read_split,
)
from slimyolo.data.pictures import image_store
from slimyolo.errors import ConfigError, DataError

MakeDataset = Callable[..., Path]
RICH = Augmentation(degrees=5, shear=2, mosaic=0.7, mixup=0.5, flipud=0.2)


@pytest.fixture
def train(make_dataset: MakeDataset) -> SplitData:
    return read_split(read_dataset_yaml(make_dataset(train=11)), "train")


def assert_equal(first: Iterable[Batch], second: Iterable[Batch]) -> None:
    for one, other in zip(first, second, strict=True):
        assert one.paths == other.paths
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
        assert one.placements == other.placements
        for truth, same in zip(one.truths, other.truths, strict=True):
            np.testing.assert_array_equal(truth, same)


@pytest.mark.parametrize("rect", [False, True])
def test_any_number_of_workers_makes_the_same_batches(train: SplitData, rect: bool) -> None:
    made = []
    for workers in (0, 1, 2):
        batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4, workers=workers), RICH, seed=3, rect=rect)
        made.append([list(batches.epoch(epoch)) for epoch in (0, 1)])
        batches.close()
    for other in made[1:]:
        for epoch in (0, 1):
            assert_equal(made[0][epoch], other[epoch])
    assert not torch.equal(made[0][0][0].images, made[0][1][0].images)


@pytest.mark.parametrize("workers", [0, 2])
def test_epoch_goes_on_from_any_step(train: SplitData, workers: int) -> None:
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=3, workers=workers), RICH, seed=3)
    whole = list(batches.epoch(5))
    assert_equal(whole[2:], batches.epoch(5, start_step=2))
    assert list(batches.epoch(5, start_step=len(batches))) == []
    batches.close()


def test_epoch_left_early_does_not_spoil_the_next(train: SplitData) -> None:
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=3, workers=2), RICH)
    expected = list(TrainBatches(train, LoaderSettings(imgsz=64, batch_size=3), RICH).epoch(1))
    unfinished = batches.epoch(0)
    next(unfinished)
    assert_equal(expected, batches.epoch(1))
    batches.close()


def test_an_iterator_that_was_overtaken_says_so(train: SplitData) -> None:
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=3, workers=1), RICH)
    old = batches.epoch(0)
    next(old)
    next(batches.epoch(1))
    with pytest.raises(RuntimeError, match="newer iterator"):
        next(old)
    batches.close()


def test_workers_end_with_their_program(train: SplitData) -> None:
    """Also when it is killed, so that it cannot tell them."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=1, workers=2), RICH)
        iterator = batches.epoch(0)
        next(iterator)
        pids = [worker.pid for worker in multiprocessing.active_children()]
        os.write(writing, " ".join(map(str, pids)).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    pids = [int(pid) for pid in os.read(reading, 100).split()]
    os.close(reading)
    os.close(writing)
    assert pids
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_seed_and_epoch_change_the_batches(train: SplitData) -> None:
    first = next(TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH, seed=0).epoch(0))
    assert torch.equal(
        first.images, next(TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH, seed=0).epoch(0)).images
    )
    assert not torch.equal(
        first.images, next(TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH, seed=1).epoch(0)).images
    )
    assert not torch.equal(
        first.images, next(TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH, seed=0).epoch(1)).images
    )


def test_batch_as_the_network_wants_it(train: SplitData) -> None:
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH)
    assert len(batches) == 3
    seen = 0
    for batch in batches.epoch(0):
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.shape == (len(batch), 3, 64, 64)
        assert batch.targets.dtype == torch.float32
        assert batch.targets.shape[1] == 6
        assert ((batch.targets[:, 2:] >= 0) & (batch.targets[:, 2:] <= 1)).all()
        assert set(batch.targets[:, 0].int().tolist()) <= set(range(len(batch)))
        seen += len(batch)
    assert seen == 11


def test_every_image_comes_once_an_epoch(train: SplitData) -> None:
    paths = [
        path
        for batch in TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH).epoch(0)
        for path in batch.paths
    ]
    assert sorted(paths) == sorted(sample.image for sample in train.samples)
    assert paths != sorted(paths)


def test_without_augmentation_pictures_are_letterboxed_and_rgb(train: SplitData) -> None:
    boxes = {sample.image: sample.boxes for sample in train.samples}
    for batch in TrainBatches(train, LoaderSettings(imgsz=96, batch_size=4), Augmentation.none()).epoch(0):
        for number, path in enumerate(batch.paths):
            picture = cv2.imread(str(path))
            long_side = max(picture.shape[:2])
            size = tuple(int(side * (96 / long_side)) for side in picture.shape[1::-1])
            expected, placement = letterbox(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), 96)
            np.testing.assert_array_equal(batch.images[number].permute(1, 2, 0).numpy(), expected[..., ::-1])
            rows = batch.targets[batch.targets[:, 0] == number].numpy()
            np.testing.assert_array_equal(rows[:, 1], boxes[path][:, 0])
            offset = np.asarray(placement.pad) / 96
            np.testing.assert_allclose(rows[:, 2:4], boxes[path][:, 1:3] * np.asarray(size) / 96 + offset, atol=1e-6)
            np.testing.assert_allclose(rows[:, 4:6], boxes[path][:, 3:5] * np.asarray(size) / 96, atol=1e-6)


@pytest.mark.parametrize(("world", "batch_size"), [(2, 2), (4, 1)])
def test_processes_share_the_global_batches(train: SplitData, world: int, batch_size: int) -> None:
    alone = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=world * batch_size), RICH, seed=9)
    ranks = [
        TrainBatches(train, LoaderSettings(imgsz=64, batch_size=batch_size), RICH, seed=9, shard=Sharding(rank, world))
        for rank in range(world)
    ]
    assert {len(rank) for rank in ranks} == {len(alone)}
    for whole, *parts in zip(alone.epoch(2), *(rank.epoch(2) for rank in ranks), strict=True):
        images = torch.cat([part.images for part in parts])
        assert torch.equal(images[: len(whole)], whole.images)
        assert len(images) - len(whole) in range(world)  # a last batch smaller than the world is filled up


def test_more_processes_than_images(train: SplitData) -> None:
    parts = [
        next(TrainBatches(train, LoaderSettings(imgsz=64, batch_size=1), RICH, shard=Sharding(rank, 16)).epoch(0))
        for rank in range(16)
    ]
    assert all(len(part) == 1 for part in parts)
    assert torch.equal(parts[0].images, parts[11].images)


def test_close_mosaic_makes_the_last_epochs_plain(train: SplitData) -> None:
    only_mosaic = Augmentation(**{**Augmentation.none().__dict__, "mosaic": 1.0})
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), only_mosaic, seed=1, plain_from=8)
    plain = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), Augmentation.none(), seed=1)
    assert_equal(batches.epoch(8), plain.epoch(8))
    assert_equal(batches.epoch(9), plain.epoch(9))
    assert not torch.equal(next(batches.epoch(7)).images, next(plain.epoch(7)).images)


def test_rect_batches_have_their_proportions(train: SplitData) -> None:
    sizes = {sample.image: sample.size for sample in train.samples}
    batches = TrainBatches(train, LoaderSettings(imgsz=128, batch_size=3), Augmentation(), rect=True)
    orders = []
    for epoch in (0, 1):
        paths = []
        for batch in batches.epoch(epoch):
            height, width = batch.images.shape[2:]
            assert height % 32 == width % 32 == 0
            for path in batch.paths:
                share = 128 / max(sizes[path])
                assert int(sizes[path][0] * share) <= height
                assert int(sizes[path][1] * share) <= width
            paths += batch.paths
        assert sorted(paths) == sorted(sizes)
        orders.append(paths)
    assert orders[0] != orders[1]  # the batches come in another order


def test_image_weights_choose_the_images(train: SplitData) -> None:
    asked = []

    def weights(epoch: int) -> np.ndarray:
        asked.append(epoch)
        return np.eye(len(train))[3]

    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH, image_weights=weights)
    paths = {path for batch in batches.epoch(4) for path in batch.paths}
    assert paths == {train.samples[3].image}
    assert asked == [4]


@pytest.mark.parametrize("weights", [np.ones(3), np.zeros(11), -np.ones(11), np.full(11, np.nan)])
def test_impossible_image_weights(train: SplitData, weights: np.ndarray) -> None:
    with pytest.raises(DataError, match="Image weights must be 11 finite numbers"):
        next(
            TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH, image_weights=lambda _: weights).epoch(0)
        )


def test_class_weights(train: SplitData) -> None:
    counts = train.class_counts()
    weights = class_balance_weights(train)
    np.testing.assert_allclose(weights * counts, (weights * counts)[0])
    assert weights.mean() == pytest.approx(1)
    per_image = image_weights_of_classes(train, weights)
    assert per_image[0] == 0  # a background
    assert per_image.sum() == pytest.approx((weights * counts).sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imgsz": 100}, "multiple of the stride 32, got 100. The nearest is 96"),
        ({"imgsz": 0}, "The nearest is 32"),
        ({"batch_size": 0}, "--batch-size must be 1 or more"),
        ({"workers": -1}, "--workers must be a whole number"),
        ({"workers": True}, "--workers must be a whole number"),
        ({"cache": "disk"}, "cache must be 'ram'"),
    ],
)
def test_impossible_settings(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoaderSettings(**{"imgsz": 64, "batch_size": 4, **options})


@pytest.mark.parametrize(("rank", "world"), [(2, 2), (-1, 2), (0, 0)])
def test_impossible_shards(rank: int, world: int) -> None:
    with pytest.raises(ConfigError, match="rank must lie in 0 to world - 1"):
        Sharding(rank, world)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rect": True, "image_weights": np.ones}, "--rect and --image-weights contradict"),
        ({"seed": -1}, "--seed must be 0 or more, got -1"),
    ],
)
def test_impossible_options(train: SplitData, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH, **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_cache_changes_nothing(train: SplitData, workers: int) -> None:
    cached = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4, workers=workers, cache="ram"), RICH)
    for epoch in (0, 1):
        assert_equal(
            TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), RICH).epoch(epoch), cached.epoch(epoch)
        )
    for sample in train.samples:
        sample.image.unlink()  # nothing is read any more
    list(cached.epoch(2))
    cached.close()


def test_cache_larger_than_the_memory(train: SplitData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_store, "_SHARE_OF_MEMORY", 1e-9)
    with pytest.raises(ConfigError, match=r"--cache ram needs .* Leave --cache out"):
        TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4, cache="ram"), RICH)


def test_the_global_random_state_is_left_alone(train: SplitData) -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4, workers=1), RICH)
    list(batches.epoch(0))
    batches.close()
    assert torch.equal(state, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_state, np.random.get_state()[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_image_that_breaks_while_training(train: SplitData, workers: int) -> None:
    train.samples[3].image.write_bytes(b"gone")
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4, workers=workers), Augmentation.none())
    with pytest.raises(DataError, match=r"^The image .*003\.png cannot be decoded") as caught:
        list(batches.epoch(0))
    assert "Traceback" not in str(caught.value)
    batches.close()


def test_image_that_changes_while_training(train: SplitData) -> None:
    cv2.imwrite(str(train.samples[3].image), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DataError, match=r"003\.png has changed since it was first read"):
        list(TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4), Augmentation.none()).epoch(0))


def test_dead_worker_is_named_and_a_new_start_works(train: SplitData) -> None:
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=1, workers=1), RICH)
    under_way = batches.epoch(0)
    next(under_way)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(
        DataError, match=rf"Loader process {worker.pid} ended by itself \(killed by SIGKILL\).*--workers 0"
    ):
        list(under_way)
    assert len(list(batches.epoch(0))) == 11
    batches.close()


def test_close_ends_the_workers(train: SplitData) -> None:
    batches = TrainBatches(train, LoaderSettings(imgsz=64, batch_size=4, workers=2), RICH)
    list(batches.epoch(0))
    first = {worker.pid for worker in multiprocessing.active_children()}
    list(batches.epoch(1))
    assert {worker.pid for worker in multiprocessing.active_children()} == first  # they stay
    batches.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("rect", [False, True])
@pytest.mark.parametrize("imgsz", [64, 128])  # smaller and larger than the pictures
def test_evaluation_truth_fits_pictures_and_placements(train: SplitData, rect: bool, imgsz: int) -> None:
    samples = {sample.image: sample for sample in train.samples}
    seen = []
    for batch in EvalBatches(train, LoaderSettings(imgsz=imgsz, batch_size=4), rect=rect):
        height, width = batch.images.shape[2:]
        assert rect or (height, width) == (imgsz, imgsz)
        for number, (path, placement, truth) in enumerate(
            zip(batch.paths, batch.placements, batch.truths, strict=True)
        ):
            sample = samples[path]
            assert placement.source_size == sample.size
            assert placement.network_size == (height, width)
            targets = batch.targets[batch.targets[:, 0] == number].numpy()
            np.testing.assert_array_equal(targets[:, 1], truth[:, 0])
            low = (targets[:, 2:4] - targets[:, 4:6] / 2) * (width, height)
            high = (targets[:, 2:4] + targets[:, 4:6] / 2) * (width, height)
            np.testing.assert_allclose(placement.undo(np.concatenate((low, high), 1)), truth[:, 1:], atol=1e-3)
            relative = truth[:, 3:5] - truth[:, 1:3]
            np.testing.assert_allclose(relative / sample.size[::-1], sample.boxes[:, 3:5], atol=1e-6)
            left, top = placement.pad
            inside = batch.images[number][:, top : height - top - (height % 2), left : width - left]
            assert inside.numel()
            assert (batch.images[number][:, :top] == 114).all()
            assert (batch.images[number][:, :, :left] == 114).all()
            seen.append(path)
    assert sorted(seen) == sorted(samples)


def test_evaluation_is_the_same_with_workers_and_cache(train: SplitData) -> None:
    plain = EvalBatches(train, LoaderSettings(imgsz=64, batch_size=4))
    other = EvalBatches(train, LoaderSettings(imgsz=64, batch_size=4, workers=2, cache="ram"))
    assert len(plain) == 3
    assert_equal(plain, other)
    assert_equal(plain, other)  # and again
    other.close()


def test_evaluation_over_processes_sees_each_image_once(train: SplitData) -> None:
    ranks = [EvalBatches(train, LoaderSettings(imgsz=64, batch_size=2), shard=Sharding(rank, 4)) for rank in range(4)]
    paths = [path for rank in ranks for batch in rank for path in batch.paths]
    assert sorted(paths) == sorted(sample.image for sample in train.samples)


def test_extreme_proportions(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name, size in (("wide", (10, 4000)), ("tall", (4000, 10))):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.full((*size, 3), 200, np.uint8))
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [a]")
    split = read_split(read_dataset_yaml(tmp_path / "data.yaml"), "train")
    for batch in EvalBatches(split, LoaderSettings(imgsz=320, batch_size=1)):
        assert min(batch.images.shape[2:]) == 32
        assert (batch.images == 200).sum() >= 320 * 3
    for rect in (False, True):
        assert (
            sum(
                len(batch)
                for batch in TrainBatches(
                    split, LoaderSettings(imgsz=320, batch_size=1), Augmentation(), rect=rect
                ).epoch(0)
            )
            == 2
        )
