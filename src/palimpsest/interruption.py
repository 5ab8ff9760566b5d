"""Ctrl-C and SIGTERM: both end a job as `KeyboardInterrupt`, and the handler records that one arrived.

The exception of a signal handler may get lost. C code clears it and raises its own error, as safetensors does
("could not determine the shape"); the cleanup code of a library fails in turn; Python drops it during garbage
collection. `is_interruption` therefore also checks the record, and a timer raises a lost exception again.
"""

import math
import signal
import time

CLOSING = 10.0
"""Seconds for a job to close its files and runs; a later signal interrupts the closing too."""


class Interruption:
    """Signal handler that ends the job as Ctrl-C does, so that files and runs are closed.

    One Ctrl-C causes several signals: from the terminal, from Snakemake, and from the watch over the parent.
    Signals within `CLOSING` seconds of the first must not interrupt the closing. After that time a job that is
    still alive is interrupted again.
    """

    def __init__(self) -> None:
        self.last = -math.inf

    @property
    def came(self) -> bool:
        """True after the first signal."""
        return self.last > -math.inf

    def __call__(self, signum: int, frame: object) -> None:
        """Raise `KeyboardInterrupt`, unless the last one is less than `CLOSING` seconds old."""
        now = time.monotonic()
        if now - self.last >= CLOSING:
            self.last = now
            signal.setitimer(signal.ITIMER_REAL, CLOSING)
            raise KeyboardInterrupt


_interruption = Interruption()


def take_interruptions() -> None:
    """Make Ctrl-C and SIGTERM end this process in the same way; an ignored Ctrl-C stays ignored."""
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _interruption)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interruption)


def is_interruption(error: BaseException) -> bool:
    """Return whether a signal ends the job, even if the error at hand is another one."""
    return isinstance(error, KeyboardInterrupt) or _interruption.came
