"""The studio's watcher: a process that does nothing but start the studio, and start it again where it dies. No torch.

    watch([python, "launch.py", "--watched", ...])      returns the studio's exit code once it ends of its own accord

A fault inside a compiled library or a machine out of memory kills a process without a word; what trained is then found
interrupted, and the page comes back by itself.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence

MOST_RESTARTS, WITHIN_SECONDS = 3, 600.0
LOOK_SECONDS = 0.5
DIED = "STUDIO_DIED"  # tells a studio that is started again what ended the one before
ASKED_TO_END = (signal.SIGINT, signal.SIGTERM)


def watch(command: Sequence[str]) -> int:
    """Run a command until it ends by itself or is asked to; start it again when it is killed by a fault, a few times."""
    restarts: deque[float] = deque(maxlen=MOST_RESTARTS)
    cause = ""
    while True:
        code = _run(command, cause)
        if not _died(code):
            return code
        now, cause = time.monotonic(), _cause(code)
        if len(restarts) == MOST_RESTARTS and now - restarts[0] < WITHIN_SECONDS:
            print(f"The studio died {MOST_RESTARTS + 1} times within {WITHIN_SECONDS / 60:.0f} minutes ({cause}). It is not "
                  "started again. Run `python3 launch.py doctor`, then start it yourself.", file=sys.stderr, flush=True)  # fmt: skip
            return 1
        restarts.append(now)
        print(f"The studio died ({cause}). Starting it again; what trained is marked interrupted.", file=sys.stderr, flush=True)
        command = [*command, "--no-browser"] if "--no-browser" not in command else command


def cause_of_death() -> str:
    """Called in the studio's process: what ended the one before it, where it was started again for that."""
    return os.environ.get(DIED, "")


def end_with_watcher() -> None:
    """Called in the studio's process: end it when its watcher is gone, or else nobody could stop it."""
    watcher = os.getppid()

    def look() -> None:
        while os.getppid() == watcher:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    if os.name == "posix":
        threading.Thread(target=look, name="watcher", daemon=True).start()


def _run(command: Sequence[str], cause: str) -> int:
    """The command's exit code; it is told what ended it the last time.

    A signal that asks us to end is passed on; Ctrl-C reaches it by itself.
    """
    process = subprocess.Popen(command, env={**os.environ, DIED: cause})
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: process.terminate()),
    }
    try:
        return process.wait()
    finally:
        for asked, handler in before.items():
            signal.signal(asked, handler)


def _died(code: int) -> bool:
    """Killed by a signal that nobody sent on purpose; Windows gives a fault a code beyond a byte."""
    return (code < 0 and -code not in ASKED_TO_END) or code > 255


def _cause(code: int) -> str:
    if code == -getattr(signal, "SIGKILL", 9):
        return "killed by the system, most often because memory ran out"
    return f"a fault inside a library, signal {-code}" if code < 0 else f"a fault inside a library, code {code:#x}"
