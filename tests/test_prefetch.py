"""Prefetching: order, number of running jobs, failures and signals."""

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rosecd_jax.prefetch import ahead, ahead_or_none, groups


def test_results_come_in_order_and_no_more_than_asked_for_are_under_way():
    begun: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    def submit(number: int):
        begun.append(number)
        return pool.submit(work, number)

    with ThreadPoolExecutor(4) as pool:
        for place, result in enumerate(ahead(submit, range(50), 5)):
            assert result == place
            assert len(begun) == min(50, place + 6)


def test_a_failure_arises_in_its_turn_and_what_has_not_begun_is_cancelled():
    done: list[int] = []

    def work(number: int) -> int:
        time.sleep(0.05)
        if number == 2:
            raise TimeoutError("of the work's own")
        done.append(number)
        return number

    with ThreadPoolExecutor(1) as pool:
        results = ahead(lambda number: pool.submit(work, number), range(20), 10)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(TimeoutError, match="own"):
            next(results)
    assert len(done) < 6


def test_a_signal_is_heard_that_does_not_wake_the_main_thread():
    """The system may deliver it to any thread, or just before the main thread goes to sleep."""
    assert threading.current_thread() is threading.main_thread()
    release = threading.Event()

    def interrupt() -> None:
        time.sleep(0.3)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
        release.wait(10)

    def hear(number: int, frame: object) -> None:
        raise InterruptedError

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with ThreadPoolExecutor(1) as pool:
            begun = time.monotonic()
            with pytest.raises(InterruptedError):
                list(ahead(lambda work: pool.submit(work), [interrupt], 1))
            heard = time.monotonic() - begun
            release.set()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard < 5


def test_what_is_done_does_not_wait_for_a_slow_stage_before():
    """In a pipeline whose first stage is long at its last item, everything else comes out meanwhile."""
    release = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = ahead_or_none(
            lambda number: pool.submit(lambda: release.wait(20) and number if number == 4 else number),
            [1, 2, 3, 4],
            2,
        )
        second = ahead_or_none(lambda number: pool.submit(lambda: 10 * number), first, 8)
        found = [next(result for result in second if result is not None) for _ in range(3)]
        assert not release.is_set()
        release.set()
        assert [*found, *(result for result in second if result is not None)] == [10, 20, 30, 40]


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_groups_hold_everything_once_and_in_order(count, sizes):
    found = list(groups(iter(range(count)), 4))
    assert [len(group) for group in found] == sizes
    assert [number for group in found for number in group] == list(range(count))
