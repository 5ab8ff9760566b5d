"""Ctrl-C and SIGTERM: both end a job as `KeyboardInterrupt`, and that they came is remembered.

What a signal's handler raises does not always arrive. Code in C clears it and reports an error of its own, as
safetensors does ("could not determine the shape"); a library's way out fails in its turn; and Python drops it
while it collects garbage. So whoever asks why a job ends asks `is_interruption`, and what got lost comes again.
"""

import math
import signal
import time

CLOSING = 10.0
"""Seconds that a job has for closing what is open, before another signal interrupts that too."""


class Interruption:
    """What a signal does: it ends the job as Ctrl-C does, so that what is open is closed.

    One Ctrl-C comes as several signals, of the terminal, of Snakemake, and of the watch over the parent. Those
    that follow the first within `CLOSING` seconds must not interrupt the closing. Who is alive after that is
    interrupted again.
    """

    def __init__(self) -> None:
        self.last = -math.inf

    @property
    def came(self) -> bool:
        """Whether the job has been told to end."""
        return self.last > -math.inf

    def __call__(self, signum: int, frame: object) -> None:
        """Raise `KeyboardInterrupt`, unless that has just been done."""
        now = time.monotonic()
        if now - self.last >= CLOSING:
            self.last = now
            signal.setitimer(signal.ITIMER_REAL, CLOSING)
            raise KeyboardInterrupt


_interruption = Interruption()


def take_interruptions() -> None:
    """Have Ctrl-C and SIGTERM end this process in the same way; who started it without Ctrl-C keeps it so."""
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _interruption)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _interruption)


def is_interruption(error: BaseException) -> bool:
    """Whether a job ends by this error because it was told to end, whatever the error is."""
    return isinstance(error, KeyboardInterrupt) or _interruption.came
