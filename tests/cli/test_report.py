from __future__ import annotations

from napari_mrgen.cli.report import WIDTH, scoreboard_lines
from napari_mrgen.metrics.scoreboard import WHOLE_SET, Score, Scoreboard, tabulate


def board(*scores: tuple[str, str, str, float]) -> Scoreboard:
    return tabulate(Score(method, subject, {name: x}) for method, subject, name, x in scores)


def test_no_line_is_too_long_and_no_method_is_lost() -> None:
    methods = [f"method {i} {'x' * 8 * i}" for i in range(6)]
    lines = scoreboard_lines(board(*((m, "a", "a figure with a long name", 0.5) for m in methods)))
    assert max(map(len, lines)) <= WIDTH
    assert all(method in "\n".join(lines) for method in methods)


def test_figures_that_nobody_has_take_no_line() -> None:
    scores = [(f"{i}", "a", "common", 1.0) for i in range(4)]
    lines = scoreboard_lines(board(*scores, ("last", "a", "rare", 2.0)))
    assert [line.split() for line in lines if "rare" in line] == [["rare", "2"]]


def test_it_is_said_of_whom_the_figures_are() -> None:
    subjects = [("model", name, "SSIM", x) for name, x in (("a", 0.5), ("b", 0.7))]
    whole = ("model", WHOLE_SET, "KID", 3.0), ("mean image", WHOLE_SET, "KID", 4.0)
    assert scoreboard_lines(board(subjects[0]))[-1] == "Of one subject."
    assert scoreboard_lines(board(*whole))[-1] == "Of all held-out slices together."
    assert scoreboard_lines(board(*subjects))[-1] == "Mean ± spread over 2 subjects."
    both = scoreboard_lines(board(*subjects, *whole))
    assert both[-1].endswith("without ±, of all held-out slices together.")
    assert any(line.split() == ["KID", "3", "4"] for line in both)
