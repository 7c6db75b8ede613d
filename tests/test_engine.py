"""Threads and queues by themselves: order, back-pressure, errors, stopping, and stages that hang."""

import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poseact.engine import Engine, in_threads
from poseact.errors import StalledError
from poseact.watch import Watch


def threads_of_poseact():
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("poseact")}


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


@given(st.lists(st.integers(), max_size=40), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_stages_change_nothing_and_lose_nothing(items, room, most):
    def doubled(numbers):
        return [2 * number for number in numbers]

    with Engine() as engine:
        ahead = engine.ahead("second", (item for item in engine.ahead("first", items, room)), room)
        futures = [engine.submit("networks", "doubling", doubled, [item], most) for item in ahead]
        assert [engine.result(future) for future in futures] == [[2 * item] for item in items]
    assert not threads_of_poseact()


@given(st.lists(st.integers(), max_size=40), st.integers(1, 4), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_threads_change_nothing_and_lose_nothing(items, threads, together):
    def evens(numbers):
        return (number for number in numbers if number % 2 == 0)

    assert list(in_threads(evens, items, threads, together)) == [number for number in items if number % 2 == 0]


def test_threads_work_at_the_same_time_but_not_further_ahead_than_they_are():
    taken, meeting = [], threading.Barrier(3)

    def make(numbers):
        meeting.wait(5)  # none of them gets on without the others
        return numbers

    made = in_threads(make, (taken.append(n) or n for n in range(9)), 3, 1)
    assert next(made) == 0
    assert taken == [0, 1, 2, 3]
    meeting.abort()
    made.close()
    assert not threads_of_poseact()


@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("where", ["items", "threads"])
def test_what_goes_wrong_in_threads_comes_after_what_came_before(where, together):
    def items():
        yield from range(5)
        if where == "items":
            raise OSError("the disk is gone")
        yield from range(5, 9)

    def make(numbers):
        for number in numbers:
            if number == 5:
                raise OSError("the disk is gone")
            yield number

    made = in_threads(make, items(), 2, together)
    assert [next(made) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="the disk is gone"):
        next(made)


def test_a_stage_works_ahead_but_not_further_than_there_is_room():
    made = []
    with Engine() as engine:
        ahead = engine.ahead("numbers", (made.append(n) or n for n in range(100)), 3)
        assert wait_until(lambda: len(made) == 4)  # three that wait and one in hand
        time.sleep(0.05)
        assert len(made) == 4
        assert next(ahead) == 0
        assert wait_until(lambda: len(made) == 5)


def test_room_is_by_weight_and_one_heavy_item_always_has_some():
    made = []
    with Engine() as engine:
        ahead = engine.ahead("weights", (made.append(w) or w for w in [50, 3, 4, 2, 2]), 8, weigh=float)
        assert wait_until(lambda: made == [50, 3])
        assert [next(ahead) for _ in range(2)] == [50, 3]
        assert wait_until(lambda: made == [50, 3, 4, 2, 2])
        assert list(ahead) == [4, 2, 2]


def test_an_error_comes_after_the_last_good_item_and_through_all_stages():
    def numbers():
        yield from (1, 2)
        raise KeyError("the second stage never sees this")

    got = []
    with Engine() as engine:
        upstream = engine.ahead("numbers", numbers(), 1)
        copies = engine.ahead("copies", (number for number in upstream), 1)
        with pytest.raises(KeyError, match="never sees"):
            list(map(got.append, copies))
    assert got == [1, 2]
    assert not threads_of_poseact()


def test_what_nobody_wants_any_more_is_stopped_at_once():
    closed = threading.Event()

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.set()

    started = time.monotonic()
    with Engine() as engine:
        upstream = engine.ahead("endless", endless(), 2)
        next(engine.ahead("copies", (item for item in upstream), 2))
    assert closed.is_set()
    assert not threads_of_poseact()
    assert time.monotonic() - started < 1.5


def test_requests_for_one_network_go_through_it_together():
    batches, first_may_end = [], threading.Event()

    def square(numbers):
        batches.append(list(numbers))
        first_may_end.wait(10)
        return [n * n for n in numbers]

    def cube(numbers):
        return [n**3 for n in numbers]

    with Engine() as engine:
        futures = [engine.submit("networks", "squares", square, [1], 4)]
        assert wait_until(lambda: batches == [[1]])
        futures += [engine.submit("networks", "squares", square, each, 4) for each in ([2, 3], [4], [5, 6])]
        futures.append(engine.submit("networks", "cubes", cube, [2], 4))
        first_may_end.set()
        assert [engine.result(future) for future in futures] == [[1], [4, 9], [16], [25, 36], [8]]
    assert batches == [[1], [2, 3, 4], [5, 6]]


def test_only_the_request_that_is_to_blame_fails():
    busy = threading.Event()

    def inverse(numbers):
        busy.wait(10)
        return [1 / n for n in numbers]

    with Engine() as engine:
        futures = [engine.submit("networks", "inverses", inverse, [n], 8) for n in (5, 4, 0, 2)]
        busy.set()
        assert engine.result(futures[1]) == [0.25]
        with pytest.raises(ZeroDivisionError):
            engine.result(futures[2])
        assert engine.result(futures[3]) == [0.5]


def test_an_answer_that_comes_as_the_wait_for_it_ends_is_taken():
    class Late(Future):
        def result(self, timeout=None):
            try:
                return super().result(timeout)
            except NotYet:
                self.set_result("just now")
                raise

    with Engine() as engine:
        assert engine.result(Late()) == "just now"


def test_a_timeout_of_a_network_is_its_own():
    def remote(items):
        raise NotYet("the server does not answer")

    with Engine() as engine, pytest.raises(NotYet, match="server"):
        engine.result(engine.submit("networks", "remote", remote, [1], 1))


def test_many_that_hang_are_waited_for_together():
    forever = threading.Event()
    try:
        with Engine() as engine:
            for _ in range(5):
                engine.ahead("hanging", map(forever.wait, [30]), 1)
            leaving = time.monotonic()
        assert time.monotonic() - leaving < 4
    finally:
        forever.set()


@pytest.mark.parametrize("where", ["stage", "network"])
def test_a_stage_that_hangs_is_named(where):
    forever = threading.Event()

    def hang(items):
        forever.wait(30)
        return items

    started = time.monotonic()
    try:
        with Engine(0.3) as engine:

            def wait_for_it():
                if where == "stage":
                    next(engine.ahead("copies", (tape for tape in engine.ahead("reading tapes", map(hang, [1]), 1)), 1))
                else:
                    engine.result(engine.submit("networks", "reading tapes", hang, [1], 1))

            with pytest.raises(StalledError, match="reading tapes has not got on for 0"):
                wait_for_it()
        assert time.monotonic() - started < 8
    finally:
        forever.set()


def test_a_stage_with_a_pulse_may_take_its_time():
    beats = iter(range(10**6))

    def slow():
        time.sleep(1.3)
        yield "done"

    with Engine(0.4) as engine:
        assert next(engine.ahead("slow", slow(), 1, pulse=lambda: next(beats))) == "done"


def test_a_process_that_was_stopped_for_a_while_does_not_hang(monkeypatch):
    now = 0.0
    monkeypatch.setattr("poseact.watch.time", SimpleNamespace(monotonic=lambda: now))
    watch = Watch(patience=10)
    watch.stage("reading tapes").enter("working")

    def check_after(*pauses):
        nonlocal now
        for seconds in pauses:
            now += seconds
            watch.check()

    check_after(*[1] * 9, 1000, *[1] * 9)
    with pytest.raises(StalledError, match="reading tapes"):
        check_after(*[1] * 5)


def test_a_waiting_stage_is_not_a_hanging_one():
    with Engine(0.3) as engine:
        ahead = engine.ahead("copies", (item for item in engine.ahead("numbers", iter(range(5)), 1)), 1)
        assert next(ahead) == 0
        time.sleep(1.2)  # the consumer takes its time, and both are blocked
        assert list(ahead) == [1, 2, 3, 4]


def test_the_times_tell_who_waited_for_whom():
    def slow():
        for number in range(10):
            time.sleep(0.02)
            yield number

    with Engine() as engine:
        list(engine.ahead("copies", (item for item in engine.ahead("slow", slow(), 2)), 2))
        times = engine.watch.times()
    assert list(times) == ["copies", "slow"] or list(times) == ["slow", "copies"]
    assert times["slow"].items == times["copies"].items == 10
    assert times["slow"].working > 0.15 > times["slow"].blocked
    assert times["copies"].starved > 0.15 > times["copies"].working


def test_the_times_of_stages_that_come_and_go_are_summed():
    with Engine() as engine:
        for _ in range(50):
            list(engine.ahead("numbers", range(3), 5))
        assert engine.watch.times()["numbers"].items == 150
        assert len(engine.watch._running) < 5
        assert len(engine._aheads) < 5
