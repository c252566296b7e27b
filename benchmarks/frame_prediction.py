"""How well frames are predicted: this project's model, its seed, a direct head, trivial methods.

    python benchmarks/frame_prediction.py RUNS [--data FOLDER]

Trains ``quick`` on 18 patients of the derived Sunnybrook cines, ``published``, and a direct
multi-frame U-Net for the same time on the clock, and scores all on the other 8 patients and,
without more training, on a real series of ACDC. Finished trainings under RUNS are used again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from common import DATA, HERE, grid, machine, paced, train, write
from torch import Tensor, nn
from torch.nn import functional

from napari_mrgen import families
from napari_mrgen.data.cine import Cine, CineWindows, WindowSpec, load
from napari_mrgen.data.inputs import Inputs, Split
from napari_mrgen.engine.run.model import load_model
from napari_mrgen.engine.task import Draws
from napari_mrgen.families.frame_prediction.sampling import predict
from napari_mrgen.families.frame_prediction.scoring import BASELINES, Method, score_cine
from napari_mrgen.families.frame_prediction.tasks import BAND, one_cycle
from napari_mrgen.io.find import find
from napari_mrgen.metrics.images import psnr, radial_power, spectral_distance
from napari_mrgen.metrics.scoreboard import Score, Scoreboard, tabulate

FAMILY = families.get("frame_prediction")
SPLIT = HERE / "sunnybrook-split.json"
"""8 of the 26 patients are held out: every third or fourth by name, of each group some."""
CONTEXT = 5
NEAR_WINDOWS, FAR_WINDOWS = 8, 3
"""Windows a patient up to horizon 10, and beyond: there a roll-out has 60 frames."""
LENGTHS = {"autoencoder": "autoencoder_steps", "gan": "gan_steps"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, help="folder for the trained models")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seconds", type=float, help="for seed and direct head; as long as quick")
    chosen = parser.parse_args()
    inputs = sunnybrook(chosen.data)
    quick, seed = FAMILY.preset("quick"), FAMILY.preset("published")
    seconds = {"quick": train(FAMILY, quick, inputs, chosen.runs / "quick")}
    budget = chosen.seconds or sum(seconds["quick"].values())
    if not (chosen.runs / "seed").exists():
        seed = paced(FAMILY, seed, inputs, budget, LENGTHS)
    seconds["seed"] = train(FAMILY, seed, inputs, chosen.runs / "seed")
    seconds["direct"] = {"": train_direct(inputs, chosen.runs / "direct.pt", budget)}
    methods = trained_methods(chosen.runs)
    cines = {r.subject: load(r.read()) for r in inputs.test("cine")}
    results = {
        "machine": machine(),
        "training_seconds": seconds,
        "sunnybrook-cine": table(cines, methods),
        "texture": texture(cines, methods),
        "acdc zero-shot": zero_shot(chosen.data, methods),
    }
    write("frame_prediction", results, markdown(results))


def sunnybrook(data: Path) -> Inputs:
    references = find(data / "sunnybrook-cine", ("tzyx",))
    return Inputs({"cine": references}, Split.load(SPLIT))


# ---- training -----------------------------------------------------------------------------------


class DirectHead(nn.Module):
    """A plain U-Net of 0.3 M parameters: 5 frames in, 5 out at once, as residuals on the last."""

    def __init__(self, frames: int = CONTEXT, width: int = 16) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 4 * width]
        self.down = nn.ModuleList(
            _pair(before, after) for before, after in zip([frames, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _pair(below + skip, skip)
            for below, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, frames, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Continue ``(n, t, y, x)``."""
        last, skips = x[:, -1:], []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        for block, skip in zip(self.up, skips[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), skip], 1))
        return last + self.head(x)


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU(),
    )  # fmt: skip


def train_direct(inputs: Inputs, path: Path, seconds: float) -> float:
    """Train the direct head for the same time, on the same windows."""
    if path.exists():
        return seconds
    torch.manual_seed(0)
    spec = WindowSpec(CONTEXT, CONTEXT, slices=2, patch=128, delayed_share=0.0)
    windows = CineWindows(inputs.train("cine"), inputs.test("cine"), spec)
    network = DirectHead().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    start, step = time.monotonic(), 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        optimizer.param_groups[0]["lr"] = 2e-3 * one_cycle(done)
        samples = [windows.sample(8 * step + i, Draws((0,))(step, i))["frames"] for i in range(8)]
        frames = torch.stack(samples).transpose(1, 2).flatten(0, 1)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = network(frames[:, :CONTEXT])
        optimizer.zero_grad()
        (predicted.float() - frames[:, CONTEXT:]).abs().mean().backward()
        optimizer.step()
        step += 1
    print("direct head:", step, "steps", flush=True)
    torch.save(network.state_dict(), path)
    return seconds


# ---- methods ------------------------------------------------------------------------------------


def trained_methods(runs: Path) -> dict[str, Method]:
    quick = load_model(runs / "quick" / "model-gan.safetensors", families.get).networks
    seed = {
        stage: load_model(runs / "seed" / f"model-{stage}.safetensors", families.get).networks
        for stage in ("autoencoder", "gan")
    }
    direct = DirectHead()
    direct.load_state_dict(torch.load(runs / "direct.pt", weights_only=True))
    return {
        "autoencoder": _model({"generator": quick["generator"]}),
        "GAN": _model(quick),
        "seed, autoencoder": _model(seed["autoencoder"]),
        "seed, GAN": _model(seed["gan"]),
        "direct head": _direct(direct.eval()),
        **BASELINES,
    }


def _model(networks: Mapping[str, nn.Module]) -> Method:
    def method(context: Tensor, cycle: int, count: int) -> Tensor:
        return torch.from_numpy(predict(networks, context.numpy(), cycle, count))

    return method


def _direct(network: nn.Module) -> Method:
    """Beyond its frames the head goes on from its own prediction."""

    @torch.no_grad()
    def method(context: Tensor, cycle: int, count: int) -> Tensor:
        height, width = context.shape[-2:]
        rest = (0, -width % 8, 0, -height % 8)
        frames = functional.pad(context.transpose(0, 1), rest, mode="replicate")
        while frames.shape[1] < CONTEXT + count:
            frames = torch.cat([frames, network(frames[:, -CONTEXT:])], 1)
        return frames[:, CONTEXT : CONTEXT + count, :height, :width].transpose(0, 1)

    return method


# ---- metrics ------------------------------------------------------------------------------------


def table(cines: Mapping[str, Cine], methods: Mapping[str, Method]) -> dict[str, Any]:
    """Return metrics by method and horizon, with the gain over persistence patient by patient."""
    scores = [s for name, cine in cines.items() for s in _score(name, cine, methods)]
    windows = {"up to 10": NEAR_WINDOWS, "41 to 60": FAR_WINDOWS}
    return {**as_rows(tabulate(scores)), "patients": len(cines), "windows": windows}


def _score(name: str, cine: Cine, methods: Mapping[str, Method]) -> Iterator[Score]:
    print("scoring", name, flush=True)
    near = score_cine(name, cine, methods, CONTEXT, NEAR_WINDOWS, farthest=10)
    far = score_cine(name, cine, methods, CONTEXT, FAR_WINDOWS)
    for this, later in zip(near, far, strict=True):
        distant = {k: v for k, v in later.values.items() if k.endswith("41-60")}
        yield replace(this, values={**this.values, **distant})


def as_rows(scoreboard: Scoreboard) -> dict[str, Any]:
    return {
        "mean": {row.method: dict(row.mean) for row in scoreboard.rows},
        "sd": {row.method: dict(row.spread) for row in scoreboard.rows},
    }


def contexts(cine: Cine, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield context and the 5 frames after it, from starts spread over the series."""
    total = len(cine.frames)
    last = total if cine.cycle else total - 2 * CONTEXT + 1
    for index in range(min(count, last)):
        start = index * last // min(count, last)
        frames = cine.frames[[(start + i) % total for i in range(2 * CONTEXT)]]
        yield frames[:CONTEXT], frames[CONTEXT:]


def texture(cines: Mapping[str, Cine], methods: Mapping[str, Method]) -> dict[str, float]:
    """Compare the GAN with its autoencoder, and with that plus noise of the GAN's spectrum."""
    kinds: dict[str, list[Tensor]] = {"truth": [], "autoencoder": [], "GAN": []}
    for cine in cines.values():
        for context, truth in contexts(cine, 3):
            kinds["truth"].append(truth)
            for name in ("autoencoder", "GAN"):
                kinds[name].append(methods[name](context, cine.cycle, CONTEXT))
    sets = {name: torch.cat([f.flatten(0, 1) for f in frames]) for name, frames in kinds.items()}
    sets["autoencoder with noise"] = add_spectrum(sets["autoencoder"], sets["GAN"])
    truth = sets.pop("truth")
    results = {}
    for name, images in sets.items():
        results[f"{name}: log10 power distance"] = float(spectral_distance(images, truth))
        results[f"{name}: PSNR of slices"] = float(psnr(images, truth).mean())
    return results


def add_spectrum(images: Tensor, like: Tensor) -> Tensor:
    """Add Gaussian noise so that the radial power of ``images`` becomes that of ``like``."""
    frequency, have = radial_power(images)
    _, target = radial_power(like)
    missing = (target.mean(0) - have.mean(0)).clamp(min=0) * (frequency >= BAND[0])
    height, width = images.shape[-2:]
    fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    radius = (fy.square() + fx.square()).sqrt().clamp(max=0.4999)
    gain = missing.sqrt()[(radius * 2 * len(frequency)).long()]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images + torch.fft.irfft2(torch.fft.rfft2(noise) * gain, s=(height, width))


def zero_shot(data: Path, methods: Mapping[str, Method]) -> dict[str, Any]:
    """Gain over persistence in dB on a real series, of each window that there is."""
    path = data / "acdc-sample" / "training" / "patient090" / "patient090_4d.nii.gz"
    cine = load(find(path, ("tzyx",))[0].read())
    results: dict[str, Any] = {"frames": len(cine.frames), "cycle found": cine.cycle}
    shown = {k: m for k, m in methods.items() if k not in BASELINES}
    for horizon in (1, 2, 3, 5):
        starts = range(len(cine.frames) - CONTEXT - horizon + 1)
        for name, method in shown.items():
            gains = [_gain(cine.frames, s, horizon, method) for s in starts]
            results[f"{name}, horizon {horizon}"] = {
                "mean": fmean(gains), "least": min(gains), "most": max(gains), "windows": len(gains)
            }  # fmt: skip
    return results


def _gain(frames: Tensor, start: int, horizon: int, method: Method) -> float:
    context, truth = frames[start : start + CONTEXT], frames[start + CONTEXT + horizon - 1]
    predicted = method(context, 0, horizon)[-1]
    return float(psnr(predicted, truth, dims=3) - psnr(context[-1], truth, dims=3))


# ---- writing ------------------------------------------------------------------------------------


COLUMNS = [f"{m} {h}" for m in ("PSNR", "SSIM", "skill") for h in (1, 2, 3, 5, 10, "41-60")]


def markdown(results: Mapping[str, Any]) -> str:
    board = results["sunnybrook-cine"]
    columns = [*COLUMNS, "drift 41-60"]
    rows = [["method", *columns]]
    for method, mean in board["mean"].items():
        rows.append([method, *(_figure(c, mean.get(c, np.nan)) for c in columns)])
    seconds = {k: round(sum(v.values())) for k, v in results["training_seconds"].items()}
    parts = [
        f"Machine: {json.dumps(results['machine'])}. Seconds of training: "
        f"{json.dumps(seconds)}.",
        grid(gains(board["mean"])),
        grid(rows),
        grid([["texture", ""], *([k, f"{v:.3f}"] for k, v in results["texture"].items())]),
        grid([["zero-shot on ACDC patient090: gain over persistence, dB", "mean (least to most)"]]
              + [[k, f"{v['mean']:+.2f} ({v['least']:+.2f} to {v['most']:+.2f}; {v['windows']})"]
                 for k, v in results["acdc zero-shot"].items() if isinstance(v, dict)]),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def gains(mean: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return the table of gains over persistence in dB: what the goals are about."""
    still = mean["persistence"]
    near = [f"PSNR {horizon}" for horizon in (1, 2, 3, 5, 10)]
    rows = [["gain over persistence, dB", "1", "2", "3", "5", "10", "mean of 1 to 5"]]
    for method, metrics in mean.items():
        values = [*(metrics[name] - still[name] for name in near), metrics["gain 1-5"]]
        rows.append([method, *(f"{value:+.2f}" for value in values)])
    return rows


def _figure(column: str, value: float) -> str:
    return f"{value:.2f}" if column.startswith("PSNR") else f"{value:.3f}"


if __name__ == "__main__":
    main()
