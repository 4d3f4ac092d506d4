import pytest

from shared.report_page.plots import Drawing, Plot, Series, draw


def plot(*series: Series, is_log: bool = False) -> Drawing:
    return draw(Plot("title", "description", "x", "y", series, is_log))


def test_points_lie_where_a_ruler_puts_them() -> None:
    # x: 0, 1, 2 from 56 to 376; y: 0 to 50 over 212 units, from 224 upwards
    drawing = plot(Series("line", [0, 1, 2], [0.0, 25.0, 50.0]))

    assert drawing.lines[0].path == "M56 224L216 118L376 12"
    assert [(tick.at, tick.text) for tick in drawing.x_ticks] == [
        (56, "0"),
        (216, "1"),
        (376, "2"),
    ]


def test_the_axis_has_round_numbers_around_the_data() -> None:
    drawing = plot(Series("line", [0, 1], [42.0, 66.0]))

    assert [tick.text for tick in drawing.y_ticks] == ["40", "50", "60", "70"]


def test_a_logarithmic_axis_puts_equal_factors_at_equal_distances() -> None:
    ticks = [
        tick.at for tick in plot(Series("line", [2, 20, 200], [1, 2, 3]), is_log=True).x_ticks
    ]

    assert ticks[1] - ticks[0] == pytest.approx(ticks[2] - ticks[1])


def test_a_band_goes_along_the_upper_bound_and_back_along_the_lower() -> None:
    drawing = plot(Series("line", [0, 1], [10, 10], [0, 0], [50, 50]))

    assert drawing.lines[0].band == "M56 12L376 12L376 224L56 224z"


def test_no_bounds_no_band() -> None:
    assert plot(Series("line", [0, 1], [10, 20])).lines[0].band == ""


def test_one_point_is_drawn_in_the_middle() -> None:
    assert plot(Series("line", [5], [10.0])).lines[0].path.startswith("M216 ")


def test_lines_differ_by_more_than_colour() -> None:
    lines = plot(*(Series(str(number), [0], [1.0]) for number in range(4))).lines

    assert len({line.style for line in lines}) == 4
    assert len({line.markers[0] for line in lines}) == 4
