"""Ctrl-C and SIGTERM: both end a job by `KeyboardInterrupt`, and the handler records the signal.

An exception from a signal handler may get lost: C code replaces it by its own error, as safetensors does ("could
not determine the shape"), the cleanup code of a library fails, or Python drops it during garbage collection.
Therefore `is_interruption` also checks the record, and a timer raises a lost exception again.
"""

import math
import signal
import time

CLOSING = 10.0
"""Seconds for a job to close its files and runs; a later signal interrupts the closing too."""


class Interruption:
    """Signal handler that ends the job as Ctrl-C does, so that files and runs are closed.

    One Ctrl-C causes several signals: from the terminal, from Snakemake, and from `processes.parent`. Signals
    within `CLOSING` seconds of the first are ignored, so that the job can close its files. A job that is still
    alive after that time is interrupted again.
    """

    def __init__(self) -> None:
        self.last_time = -math.inf

    @property
    def received(self) -> bool:
        """True after the first signal."""
        return self.last_time > -math.inf

    def __call__(self, signum: int, frame: object) -> None:
        """Raise `KeyboardInterrupt`, unless one was raised less than `CLOSING` seconds ago."""
        now = time.monotonic()
        if now - self.last_time >= CLOSING:
            self.last_time = now
            signal.setitimer(signal.ITIMER_REAL, CLOSING)
            raise KeyboardInterrupt


_interruption = Interruption()


def take_interruptions() -> None:
    """Install the handler of SIGINT (Ctrl-C) and SIGTERM in this process; an ignored SIGINT stays ignored."""
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _interruption)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interruption)


def is_interruption(error: BaseException) -> bool:
    """Return True if a signal ends the job, even if the exception that ends it, ``error``, is another one."""
    return isinstance(error, KeyboardInterrupt) or _interruption.received
