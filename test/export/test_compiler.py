"""What the build does around TensorRT's builder: timing cache and logger, on a fake configuration."""

from __future__ import annotations

import logging

import pytest

from m2a_core.trt.backend import Backend
from m2a_core.trt.compiler import create_timing_cache, save_timing_cache


class FakeCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> bytes:
        return self.data + b"+times"


class FakeConfig:
    """A builder's configuration on a machine whose caches begin with ``good``."""

    def __init__(self, creates: bool = True) -> None:
        self.creates = creates
        self.set: FakeCache | None = None

    def create_timing_cache(self, data: bytes) -> FakeCache | None:
        return None if not self.creates or data == b"damaged" else FakeCache(data)

    def set_timing_cache(self, cache: FakeCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.data and not cache.data.startswith(b"good"):
            return False
        self.set = cache
        return True


@pytest.mark.parametrize(
    ("kept", "used", "said"),
    [
        (None, b"", ""),
        (b"good", b"good", ""),
        (b"of another GPU", b"", "starting a new one"),
        (b"damaged", b"", "starting a new one"),
    ],
)
def test_timing_cache_that_is_refused_is_replaced(tmp_path, caplog, kept, used, said):
    path = tmp_path / "edge.timing"
    if kept is not None:
        path.write_bytes(kept)
    config = FakeConfig()
    cache = create_timing_cache(config, path)
    assert config.set is cache
    assert cache.data == used
    assert said in caplog.text
    save_timing_cache(cache, path)
    assert path.read_bytes() == used + b"+times"
    assert list(tmp_path.iterdir()) == [path]


def test_tensorrt_that_makes_no_timing_cache_builds_without(tmp_path, caplog):
    assert create_timing_cache(FakeConfig(creates=False), tmp_path / "edge.timing") is None
    assert "building without" in caplog.text


def test_timing_cache_that_cannot_be_read_or_written_costs_time_only(tmp_path, caplog):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "edge.timing"
    cache = create_timing_cache(FakeConfig(), path)
    assert cache.data == b""
    save_timing_cache(cache, path)
    assert "cannot write the timing cache" in caplog.text


class FakeTensorRt:
    class ILogger:
        class Severity:
            INTERNAL_ERROR, ERROR, WARNING = range(3)


def test_process_has_one_logger_for_all_engines():
    first, second = (Backend("tensorrt", FakeTensorRt) for _ in range(2))
    assert first.logger is second.logger
    first.logger.log(FakeTensorRt.ILogger.Severity.ERROR, "no such tactic")
    assert second.take_errors() == "no such tactic"
    assert first.messages == []


def test_errors_that_nobody_asks_for_do_not_pile_up():
    backend = Backend("tensorrt", FakeTensorRt)
    for i in range(1000):
        backend.logger.log(FakeTensorRt.ILogger.Severity.ERROR, str(i))
    assert len(backend.messages) <= 50
    assert backend.take_errors().endswith("; 999")


def test_warnings_of_tensorrt_are_no_errors(caplog):
    backend = Backend("tensorrt", FakeTensorRt)
    with caplog.at_level(logging.INFO, "m2a.trt"):
        backend.logger.log(FakeTensorRt.ILogger.Severity.WARNING, "slow")
    assert "slow" in caplog.text
    assert backend.messages == []
