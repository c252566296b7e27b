"""Does the window answer while a run trains in it? Measured from inside, on a real window.

    xvfb-run -a -s "-screen 0 1366x768x24" python benchmarks/responsiveness.py

Opens napari with the Train panel and the beating heart, plays the heart, presses Train, and writes
down how long each turn of Qt's event loop takes, into ``benchmarks/results``. A turn is the time
between two ticks of a timer that is due every 2 ms, so whatever keeps the window from answering is
in it: drawing, slicing, an import that holds the interpreter, a core that another thread has.

First the same press is timed in a window of its own that has only just opened, with PyTorch's files
dropped from the page cache as far as the system permits.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QObject, Qt, QTimer

from napari_mrgen import families
from napari_mrgen.app.session import Phase

RESULTS = Path(__file__).with_name("results")
PLAY_MS = 100
TICK_MS = 2
SECONDS = 60
COLD = "--cold"
SETTINGS = {"autoencoder_steps": 100_000, "preview_every": 20, "save_every": 50}
"""The preset ``quick``, long enough, with previews and saves often enough to be in the figures."""


@dataclass(frozen=True)
class Figures:
    """Of one period: how long the turns of the event loop took."""

    seconds: float
    turns: int
    turns_under_20_ms: float
    turn_99_percent_ms: float
    longest_turn_ms: float


class Stopwatch(QObject):
    """Times the turns of the window's event loop by a timer that is due in every one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.turns: list[float] = []
        self._tick = self._start = time.perf_counter()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_tick)
        self._timer.start(TICK_MS)

    def restart(self) -> None:
        self.turns = []
        self._tick = self._start = time.perf_counter()

    def read(self) -> Figures:
        turns = np.array(self.turns or [0.0]) * 1e3
        return Figures(
            seconds=round(time.perf_counter() - self._start, 1),
            turns=len(self.turns),
            turns_under_20_ms=round(float((turns < 20).mean()), 5),
            turn_99_percent_ms=round(float(np.percentile(turns, 99)), 1),
            longest_turn_ms=round(float(turns.max()), 1),
        )

    def _on_tick(self) -> None:
        now = time.perf_counter()
        self.turns.append(now - self._tick)
        self._tick = now


class Bench:
    """A window with a heart that plays, and a run that is started in it."""

    def __init__(self, runs: Path) -> None:
        self.viewer = napari.Viewer()
        self.viewer.window.set_geometry(0, 0, 1366, 768)
        self.viewer.open_sample("napari-mrgen", "heart")
        del self.viewer.layers[1:]  # the labels: a cine plays, nothing else
        _, self.panel = self.viewer.window.add_plugin_dock_widget("napari-mrgen", "Train")
        setup = self.panel.setup
        setup.choose_family("frame_prediction")
        setup.show_config(families.get("frame_prediction").preset("quick").with_values(SETTINGS))
        setup.choose_runs_folder(runs)
        self._player = QTimer()
        self._player.timeout.connect(self._show_next_frame)
        self._player.start(PLAY_MS)
        self.watch = Stopwatch()

    def measure_cold(self) -> Figures:
        """Press Train at once: nothing has brought PyTorch into memory yet."""
        self.watch.restart()
        self.panel.train()
        self._wait(lambda: self.panel.session.state.step > 0)
        found = self.watch.read()
        self.panel.session.stop()
        self._wait(lambda: not self.panel.session.state.is_busy)
        return found

    def measure(self) -> dict[str, Figures]:
        self._wait(lambda: "Looking" not in self.panel.setup.device.text())
        self._wait(lambda: self.panel.plan is not None)
        found = {"playing, nothing trains": self._period(10)}
        self.watch.restart()
        self.panel.train()
        self._wait(lambda: self.panel.session.state.step > 0)
        found["from the press of Train to the first step"] = self.watch.read()
        found["playing while a run trains"] = self._period(SECONDS)
        self.watch.restart()
        self.panel.session.stop()
        self._wait(lambda: not self.panel.session.state.is_busy)
        found["from the press of Stop to the saved run"] = self.watch.read()
        return found

    def close(self) -> None:
        self._player.stop()
        self.viewer.close()

    def _period(self, seconds: float) -> Figures:
        self.watch.restart()
        end = time.monotonic() + seconds
        self._wait(lambda: time.monotonic() > end)
        return self.watch.read()

    def _wait(self, done: Any) -> None:
        start = time.monotonic()
        while not done():
            if self.panel.session.state.phase is Phase.FAILED:
                raise RuntimeError(self.panel.session.state.problem)
            if time.monotonic() - start > 400:
                raise TimeoutError(self.panel.session.state.headline)
            _turn(250)

    def _show_next_frame(self) -> None:
        dims = self.viewer.dims
        dims.set_current_step(0, (dims.current_step[0] + 1) % dims.nsteps[0])


def main() -> None:
    load_before = os.getloadavg()[0]
    found = {"cold: from the press of Train to the first step": _cold_start()}
    with opened() as bench:
        found |= bench.measure()
    machine = {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "napari": napari.__version__,
        "load_average_before": round(load_before, 2),
        "load_average_after": round(os.getloadavg()[0], 2),
    }
    write(machine, found)


@contextmanager
def opened() -> Iterator[Bench]:
    """Open a window that remembers nothing, and leaves nothing."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["XDG_CONFIG_HOME"] = home
        bench = Bench(Path(home) / "runs")
        try:
            yield bench
        finally:
            bench.close()


def _cold_start() -> Figures:
    """Measure a press in a process of its own."""
    _forget_torch()
    said = subprocess.run(
        [sys.executable, __file__, COLD], stdout=subprocess.PIPE, text=True, check=True
    )
    return Figures(**json.loads(said.stdout.splitlines()[-1]))


def _forget_torch() -> None:
    """Ask the system to drop PyTorch's files from memory; those in use elsewhere stay."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None or not hasattr(os, "posix_fadvise"):
        return
    for path in Path(spec.origin).parent.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write(machine: dict[str, Any], found: dict[str, Figures]) -> None:
    RESULTS.mkdir(exist_ok=True)
    periods = {name: asdict(figures) for name, figures in found.items()}
    text = json.dumps({"machine": machine, "periods": periods}, indent=1)
    (RESULTS / "responsiveness.json").write_text(text + "\n", encoding="utf-8")
    lines = [
        "# The window while a run trains in it",
        "",
        "Preset `quick` of frame prediction on the CPU, a 4-D cine playing at 10 frames a second.",
        f"{machine['machine']}; load average {machine['load_average_before']} before, "
        f"{machine['load_average_after']} after (1 to 2 is this benchmark's own).",
        "",
        "| period | s | turns | under 20 ms | 99 % under | longest turn |",
        "|---|---|---|---|---|---|",
    ]
    for name, f in found.items():
        lines.append(
            f"| {name} | {f.seconds} | {f.turns} | {f.turns_under_20_ms:.2%} "
            f"| {f.turn_99_percent_ms} ms | {f.longest_turn_ms} ms |"
        )
    (RESULTS / "responsiveness.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _turn(milliseconds: int) -> None:
    """Let Qt's own event loop run; QTest's wait polls, and has no turns that could be timed."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.split(":")[1].strip() for x in lines if "model name" in x), sys.platform)


if __name__ == "__main__":
    if sys.argv[1:] == [COLD]:
        with opened() as window:
            print(json.dumps(asdict(window.measure_cold())))
    else:
        main()
