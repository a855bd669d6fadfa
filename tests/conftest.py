"""What holds for every test.

A shell that starts a job in the background has it ignore Ctrl-C, and children inherit that: the
tests of Ctrl-C, here and in the processes that they start, would wait for a signal that nobody
hears. So the run begins with Python's own handler, as a person at a terminal has it.
"""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
