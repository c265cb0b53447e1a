"""Deadline: an instant at which the kernel ends this process, wherever it stands, unless that is put off or lifted before.

Whoever looks at a clock before it acts can be stopped between the look and the act, and goes on in the middle when it wakes. A
timer of the kernel whose signal is SIGKILL reaches a process that is stopped, starved or waits for a disk. Linux has such timers;
elsewhere nobody is ended, and a line of the log says so.
"""

import ctypes
import signal
import sys
import time

import structlog

log = structlog.get_logger(__name__)

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # only Linux has it
_ABSOLUTE = 1  # TIMER_ABSTIME of timer_settime(2)
_BY_SIGNAL = 0  # SIGEV_SIGNAL of sigevent(7)


class _Event(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("rest", ctypes.c_byte * 48),
    )


class _Span(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("every", _Span), ("at", _Span))


class Deadline:
    """One timer of this process; a child that it forks has none. Each call is one system call."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._timer = self._made()

    def put_off(self, until: float) -> None:
        """End this process at an instant of CLOCK, in seconds; what was set before counts no more."""
        self._set(max(until, 1e-9))  # zero would lift it

    def lift(self) -> None:
        """End nobody."""
        self._set(0.0)

    def close(self) -> None:
        """Give the timer back."""
        timer, self._timer = self._timer, None
        if timer is not None:
            self._library.timer_delete(timer)

    def _set(self, at: float) -> None:
        if self._timer is not None:
            setting = _Setting(_Span(0, 0), _Span(int(at), int(at % 1 * 1e9)))
            self._library.timer_settime(self._timer, _ABSOLUTE, ctypes.byref(setting), None)

    def _made(self) -> ctypes.c_void_p | None:
        known = sys.platform == "linux" and ctypes.sizeof(ctypes.c_void_p) == ctypes.sizeof(ctypes.c_int64)
        if known and hasattr(self._library, "timer_create"):
            event, timer = _Event(None, signal.SIGKILL, _BY_SIGNAL), ctypes.c_void_p()
            if self._library.timer_create(CLOCK, ctypes.byref(event), ctypes.byref(timer)) == 0:
                return timer
        log.warning(
            "no_deadline",
            why="this system has no timer that ends a process that is stopped in the middle of an act",
        )
        return None
