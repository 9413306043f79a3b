"""rosecd_jax.training.interruption: what a stop request does with signals, alone and among many processes."""

import os
import signal

import jax
import pytest

from rosecd_jax.training.interruption import StopRequest


def test_a_second_ctrl_c_interrupts_at_once():
    with StopRequest() as stop:
        assert stop.after(1) == ""
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.after(2) == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_among_many_processes_ctrl_c_is_left_to_what_they_agree_on(monkeypatch):
    """The service that agrees listens to SIGTERM. A second Ctrl-C doesn't ask it."""
    told = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    try:
        with StopRequest():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [signal.SIGTERM]
