"""What all tests need."""

from __future__ import annotations

import signal

# A shell starts background jobs with SIGINT ignored, and their children inherit that: interrupts could not be tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
