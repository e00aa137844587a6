"""Which port the page gets."""

import socket

from backend.errors import UserError

FIRST_PORT, LAST_PORT = 7860, 7959


def free_port(host: str) -> int:
    """The first port from 7860 on that nobody listens on. Raises `UserError`."""
    for port in range(FIRST_PORT, LAST_PORT + 1):
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            if port != FIRST_PORT:
                print(f"Port {FIRST_PORT} is busy; using {port}.", flush=True)
            return port
    raise UserError(f"Ports {FIRST_PORT} to {LAST_PORT} are all busy. Choose one with --port.")
