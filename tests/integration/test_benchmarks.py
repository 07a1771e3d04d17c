"""./dev bench, with figures that are planted in place of what it takes minutes to measure."""

import pytest

from benchmarks import bench
from benchmarks.figures import Figure, tail
from benchmarks.goals import Goal
from benchmarks.load import Run


def run_bench(monkeypatch, median: float, goal: Goal, *arguments: str) -> None:
    figure = Figure("service / loop", [median / 2, median, 9 * median], goal)
    monkeypatch.setattr(bench, "COMPARISONS", {"planted": lambda run: [figure]})
    bench.main(["planted", *arguments])


@pytest.mark.parametrize(
    ("goal", "good", "bad"), [(Goal(">=", limit=0.92), 0.92, 0.919), (Goal("<=", limit=80), 80, 80.1)]
)
def test_check_fails_where_a_median_is_worse_than_its_limit(monkeypatch, goal, good, bad):
    run_bench(monkeypatch, good, goal, "--check")
    run_bench(monkeypatch, bad, goal)  # without --check
    with pytest.raises(SystemExit) as failure:
        run_bench(monkeypatch, bad, goal, "--check")
    assert f"service / loop: {bad:g}, not {goal.sign} {goal.limit:g}" in failure.value.code


def test_a_target_that_is_not_met_is_told_and_does_not_fail_the_check(monkeypatch, capsys):
    run_bench(monkeypatch, 0.95, Goal(">=", target=0.97, limit=0.92), "--check")
    assert "| 0.950 (0.475 to 8.550) | >= 0.97 | not met | >= 0.92 |" in capsys.readouterr().out


def test_p99_only_of_a_thousand_samples():
    assert [tail(samples) for samples in (1000, 999, 100, 99)] == ["p99", "p90", "p90", "max"]


def test_every_turn_begins_with_another_way(tmp_path):
    order = []
    ways = {name: lambda name=name: order.append(name) for name in "abc"}
    with Run(turns=4, seconds=0, flags=[], folder=tmp_path) as run:
        run.in_turns(ways, str)
    assert "".join(order) == "abcbcacababc"
