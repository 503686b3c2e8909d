"""A camera's mounting as people write it on the command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2a_core.errors import ConfigError
from m2a_core.geometry.calibration_file import parse_mounting
from m2a_core.geometry.projection import MOUNTING_LIMITS, Mounting


@given(st.fixed_dictionaries({name: st.floats(*limits) for name, limits in MOUNTING_LIMITS.items()}))
def test_every_mounting_within_the_limits_is_read_as_it_is_written(values) -> None:
    assert parse_mounting(",".join(f"{name}={value!r}" for name, value in values.items())) == Mounting(**values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "height",
        "1.5",
        "pitch=0.1",
        "height=one",
        "height=1=2",
        "height=1,tilt=0",
        "height=1,height=2",
        "height=1,",
    ],
)
def test_text_that_is_no_mounting_is_refused_with_what_is_expected(text) -> None:
    with pytest.raises(ConfigError, match=r"expected height=METRES\[,pitch=RADIANS\]"):
        parse_mounting(text)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("height=0", "height"),
        ("height=nan", "height"),
        ("height=inf", "height"),
        ("height=1.5,pitch=nan", "pitch"),
        ("height=1.5,pitch=5", "pitch"),
        ("height=1.5,yaw=-inf", "yaw"),
        ("height=1.5,pitch_uncertainty=-0.1", "pitch_uncertainty"),
    ],
)
def test_a_value_that_no_camera_has_such_as_degrees_is_refused_by_name(text, name) -> None:
    with pytest.raises(ConfigError, match=rf"{text}: {name} is in "):
        parse_mounting(text)
