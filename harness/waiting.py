"""Waiting for a condition, with an end to it."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Slow builds (sanitizers) set this above 1: it stretches every deadline of these tests.
PATIENCE = float(os.environ.get("DENOISE_TEST_PATIENCE", "1"))


def eventually(condition: Callable[[], T], within: float = 10.0, what: str = "") -> T:
    """The first true value of `condition`, asked again and again; an error after `within` seconds."""
    end = time.monotonic() + within * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {within * PATIENCE:g} s: {what or condition}")
        time.sleep(0.01)
