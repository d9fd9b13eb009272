"""Cut one network to a share of its time on a device that differs from this machine, by the times of both.

The "device" is a process of its own: one core, one thread, and AVX2 in place of AVX-512 (``ONEDNN_MAX_CPU_ISA``, which
OpenVINO's oneDNN obeys). The archive of ``slimyolo latency pack`` is timed twice, here (all instruction sets) and on the device,
by its own run.py. Then the network is cut to the same share of the time by either answer, and the device times both cuts in turn
with the dense network. Once more with the answer of that check, which corrects the fit. All shares are taken in interleaved
rounds, so other load disturbs them little; with one thread, processor time counts.

    python benchmarks/other_device.py --weights best.pt
    python benchmarks/other_device.py --weights best.pt --runtime onnxruntime --threads-here 2     # one thread against two
    python benchmarks/other_device.py --weights best.pt --device-prefix 'qemu-x86_64-static -cpu Nehalem'
    python benchmarks/other_device.py --weights best.pt --runtime onnxruntime --device-python ./python-of-64-bit-arm

Prints a table, and writes it as JSON with ``--json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from slimyolo.tasks.latency.device.times import read_times
from slimyolo.tasks.latency.pack import check, pack
from slimyolo.tasks.latency.pack_config import LatencyCheckConfig, LatencyPackConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune

NEAR = 0.05


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--runtime", default="openvino", choices=["onnxruntime", "openvino", "ncnn"])
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.7, 0.5])
    parser.add_argument("--threads-here", type=int, default=1, help="threads of the local fit")
    parser.add_argument("--isa", default="AVX2", help="ONEDNN_MAX_CPU_ISA of the device; empty: all")
    parser.add_argument("--core", default="0", help="the core of the device")
    parser.add_argument("--device-prefix", default="", help="words before python on the device, such as an emulator")
    parser.add_argument("--device-python", default=sys.executable, help="the device's Python, in place of this one")
    parser.add_argument("--runs", type=int, help="calls of each network in a round of the device")
    parser.add_argument("--networks", type=int, help="number of networks of the fit")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/other-device"))
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def timed(
    archive: Path, folder: Path, output: Path, words: list[str], environment: dict[str, str], python: list[str]
) -> Path:
    """Unpack the archive and run its run.py as a device does, by the command `python`. Returns times.json."""
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    command = [*python, "run.py", "--output", str(output.resolve()), *words]
    subprocess.run(command, cwd=folder / "slimyolo-latency", env={**os.environ, **environment}, check=True)
    return output


def device_python(asked: argparse.Namespace) -> list[str]:
    return [*shlex.split(asked.device_prefix), *shlex.split(asked.device_python)]


class Trial:
    """The cuts to one share of the time, and what the device says about them."""

    def __init__(
        self, asked: argparse.Namespace, answers: dict[str, Path], words: list[str], isa: dict[str, str], share: float
    ) -> None:
        self.asked, self.answers, self.words, self.isa, self.share = asked, answers, words, isa, share
        self.latency = f"{100 * share:g}%"
        self.python = device_python(asked)

    def rows(self) -> list[dict[str, object]]:
        cuts = {name: self.cut(name, (path,)) for name, path in self.answers.items()}
        answer = self.checked(list(cuts.values()), 1)
        corrected = self.checked([self.cut("corrected", (self.answers["device"], answer))], 2)
        measured = [one.share for path in (answer, corrected) for one in read_times(path).networks[1:]]
        found: list[dict[str, object]] = []
        labels = ("the fit of this machine", "the times of the device", "these and its check")
        for label, there in zip(labels, measured, strict=True):
            off = there / self.share - 1
            found.append({"asked": self.share, "by": label, "measured_there": there, "off": off})
            verdict = "within 5 %" if abs(off) <= NEAR else "missed"
            print(f"asked {self.share:.0%}, cut by {label:<23}: {there:.1%} on the device ({off:+.1%}, {verdict})")
        return found

    def cut(self, name: str, times: tuple[Path, ...]) -> Path:
        config = PruneConfig(
            weights=self.asked.weights,
            latency=self.latency,
            times=times,
            imgsz=self.asked.imgsz,
            importance="l2",
            project=self.asked.folder / "cuts",
            name=f"{name}-{100 * self.share:g}",
            exist_ok=True,
        )
        return Path(prune(config).weights)

    def checked(self, weights: list[Path], number: int) -> Path:
        folder: Path = self.asked.folder
        output = folder / f"check{number}-{100 * self.share:g}.zip"
        check(
            LatencyCheckConfig(
                weights=tuple(weights), times=self.answers["device"], latency=self.latency, output=output
            )
        )
        answer, words = output.with_suffix(".json"), [*self.words, "--restart"]
        return timed(output, folder / "check", answer, words, self.isa, self.python)


def main() -> None:
    asked = arguments()
    folder: Path = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    device_words = ["--threads", "1", "--cores", asked.core]
    device_words += [] if asked.runs is None else ["--runs", str(asked.runs)]
    isa = {"ONEDNN_MAX_CPU_ISA": asked.isa} if asked.isa else {}
    settings = {"weights": asked.weights, "runtime": asked.runtime, "imgsz": asked.imgsz, "networks": asked.networks}
    archive = folder / "fit.zip"
    pack(LatencyPackConfig.model_validate({**settings, "output": archive, "threads": 1}))
    passes = ["--passes", str(asked.passes)]
    here_words = ["--threads", str(asked.threads_here), *passes]
    answers = {
        "here": timed(archive, folder / "here", folder / "here.json", here_words, {}, [sys.executable]),
        "device": timed(
            archive, folder / "device", folder / "device.json", [*device_words, *passes], isa, device_python(asked)
        ),
    }
    fits = {name: read_times(path) for name, path in answers.items()}
    shares = {name: [one.share for one in times.networks[1:]] for name, times in fits.items()}
    apart = [there / here - 1 for here, there in zip(shares["here"], shares["device"], strict=True)]
    print(
        f"the same networks take, relative to the dense one, {min(apart):+.1%} to {max(apart):+.1%} as long on the device"
    )

    rows = [row for share in asked.shares for row in Trial(asked, answers, device_words, isa, share).rows()]
    if asked.json is not None:
        asked.json.write_text(
            json.dumps({"settings": {k: str(v) for k, v in vars(asked).items()}, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
