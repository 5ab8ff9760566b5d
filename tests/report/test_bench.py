from palimpsest.report.bench import bench_table


def test_each_figure_has_a_line() -> None:
    figures = {"job_start": {"ratio": 5.5, "low": 5.25, "high": 6.0, "unit": "s"}}
    assert bench_table(figures).splitlines()[2:] == ["| `job_start` | 5.500 | 5.250 … 6.000 | s |"]
