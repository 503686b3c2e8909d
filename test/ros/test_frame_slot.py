from __future__ import annotations

import threading

from m2a_ros.camera.frame_slot import FrameSlots, ReceivedImage
from m2a_ros.camera.rate_limiter import RateLimiter


def test_latest_frame_wins_and_the_loss_is_told() -> None:
    slots = FrameSlots(("front",))
    assert [slots.put(ReceivedImage("front", n)) for n in range(3)] == [False, True, True]
    assert [image.message for image in slots.take()] == [2]
    assert slots.put(ReceivedImage("front", 3)) is False


def test_a_fast_camera_does_not_starve_the_others() -> None:
    slots = FrameSlots(("left", "right"))
    served = []
    slots.put(ReceivedImage("right", 0))
    for n in range(4):
        slots.put(ReceivedImage("left", n))
        served += [image.camera for image in slots.take()]
        if n == 1:
            slots.put(ReceivedImage("right", 1))
    assert served == ["left", "right", "left", "right"]


def test_closing_releases_a_waiting_taker_and_drops_what_waits() -> None:
    slots = FrameSlots(("front",))
    taken: list[list[ReceivedImage]] = []
    taker = threading.Thread(target=lambda: taken.append(slots.take()))
    taker.start()
    slots.close()
    taker.join(10)
    assert taken == [[]]
    slots.put(ReceivedImage("front", 1))
    assert slots.take() == []


def test_a_camera_that_is_busy_waits_and_others_go_on() -> None:
    slots, busy = FrameSlots(("left", "right")), {"left"}
    slots.put(ReceivedImage("left", 1))
    slots.put(ReceivedImage("right", 2))
    assert [image.message for image in slots.take(busy.__contains__)] == [2]
    taken: list[ReceivedImage] = []
    taker = threading.Thread(target=lambda: taken.extend(slots.take(busy.__contains__)))
    taker.start()
    slots.put(ReceivedImage("left", 3))
    busy.clear()
    slots.wake()
    taker.join(10)
    assert [image.message for image in taken] == [3], "the newer one won while it waited"


def test_rate_limit_keeps_its_rate_and_lets_jitter_pass() -> None:
    limiter = RateLimiter()
    jitter = [0.0, 0.004, -0.004, 0.003, -0.003]
    assert all(limiter.accepts(n / 10 + jitter[n % 5], 10.0) for n in range(100))
    limiter = RateLimiter()
    assert sum(limiter.accepts(n / 30, 10.0) for n in range(300)) == 100
    assert all(RateLimiter().accepts(0.0, 0.0) for _ in range(3))


def test_a_rate_that_is_raised_holds_at_once() -> None:
    limiter = RateLimiter()
    assert limiter.accepts(0.0, 0.01)
    assert not limiter.accepts(1.0, 0.01)
    assert limiter.accepts(1.1, 10.0)
    assert not limiter.accepts(1.15, 10.0)
    assert limiter.accepts(1.2, 10.0)


def test_rate_limit_does_not_burst_after_a_pause() -> None:
    limiter = RateLimiter()
    limiter.accepts(0.0, 10.0)
    passed = [limiter.accepts(5 + n / 1000, 10.0) for n in range(50)]
    assert passed.count(True) == 1
