"""Memory of the process as a whole. Imports no torch."""

import ctypes
import sys


def trim_memory() -> None:
    """Give what nothing holds any more back to the system. The C library keeps it, apart for each of a page's many threads."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # not every C library has it
        trim(0)
