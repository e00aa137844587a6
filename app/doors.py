"""Who may come in: pages of this machine's own studio, and others only with a password.

    app_kwargs = {"lifespan": doors(host)}           who may ask, and what the page may do
    auth = Password(workspace).admits                beyond this machine: a name of one's own, and the one password

What is refused, whatever the method: a request whose Host is none of ours (a foreign name that leads here), and one that
a page of another site or port sends through the user's browser.
"""

import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import UserError
from backend.workspace import Workspace, write_whole

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SHORTEST_PASSWORD = 10  # characters
SCRYPT = {"n": 2**14, "r": 8, "p": 1}  # 16 MB and about 50 ms a try (RFC 7914)
FREE_TRIES = 5  # wrong passwords before each further one has to wait
LONGEST_WAIT_SECONDS = 900.0
# Gradio's page has scripts and styles of its own in line, and makes functions of our components' scripts.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"  # a file opened by itself: nothing in it runs


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own alone."""
    return host in LOOPBACK


def doors(host: str) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """What every request goes through, set up before the first one comes: around all that Gradio puts around its routes.

    Middleware that is handed to Gradio stands within its own, which answers the question a browser asks before it sends.
    """

    @asynccontextmanager
    async def around(app: Starlette) -> AsyncIterator[None]:
        app.middleware_stack = Restrained(KnownHost(OwnPages(app.middleware_stack), host=host))
        yield

    return around


class KnownHost:
    """Refuses a Host that is none of ours: a foreign name that was made to lead here (DNS rebinding)."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._is_ours(Headers(scope=scope).get("host", "")):
            return await _refuse("This studio does not answer under that name.", 400, scope, receive, send)
        await self.app(scope, receive, send)

    def _is_ours(self, header: str) -> bool:
        try:
            name = urlsplit(f"//{header}").hostname or ""
        except ValueError:
            return False
        if is_loopback(name) or name == self.host:
            return True
        return not is_loopback(self.host) and (_is_address(name) or name in _names_of_this_machine())


class OwnPages:
    """Refuses what a page of another site, or of another port of this machine, asks through the user's browser."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the studio has none, and browsers let any page open one
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] == "http" and _is_foreign(Headers(scope=scope), scope["method"]):
            return await _refuse("This request comes from another site.", 403, scope, receive, send)
        await self.app(scope, receive, send)


class Restrained:
    """Tells the browser what the page may do: ask this server alone, run no foreign script, stand in no foreign frame."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        policy = FILE_POLICY if "/file=" in scope.get("path", "") else POLICY

        async def send_restrained(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = policy
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
            await send(message)

        await self.app(scope, receive, send_restrained if scope["type"] == "http" else send)


class Password:
    """The workspace's one password, kept as a salted scrypt hash. Whoever knows it comes in under a name of their own."""

    def __init__(self, workspace: Workspace, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._clock = workspace.root / "password.json", clock
        self._failures, self._closed_until = 0, 0.0

    @property
    def is_set(self) -> bool:
        return self._file.exists()

    def set(self, password: str) -> None:
        """Keep a new one. Raises `UserError` for one that is soon guessed."""
        if len(password) < SHORTEST_PASSWORD:
            raise UserError(f"A password of {len(password)} characters is soon guessed. Take at least {SHORTEST_PASSWORD}, such as four words.")
        salt = secrets.token_bytes(16)
        write_whole(self._file, json.dumps({"v": 1, "salt": salt.hex(), "scrypt": SCRYPT, "hash": _hash(password, salt, SCRYPT)}) + "\n")
        self._file.chmod(0o600)

    def admits(self, name: str, password: str) -> bool:
        """Whether somebody may come in. After five wrong tries each further one waits twice as long, right or wrong."""
        now = self._clock()
        if now < self._closed_until:
            return False
        if self._is_right(password):
            self._failures = 0
            return bool(name.strip())
        self._failures += 1
        over = self._failures - FREE_TRIES
        if over >= 0:
            self._closed_until = now + min(2.0**over, LONGEST_WAIT_SECONDS)
        return False

    def _is_right(self, password: str) -> bool:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            return hmac.compare_digest(kept["hash"], _hash(password, bytes.fromhex(kept["salt"]), kept["scrypt"]))
        except (OSError, ValueError, LookupError, TypeError):
            return False  # no password, or a damaged one, opens nothing


def _hash(password: str, salt: bytes, cost: dict[str, int]) -> str:
    return hashlib.scrypt(password.encode(), salt=salt, **cost).hex()


def _is_foreign(headers: Headers, method: str) -> bool:
    """By Origin, and where a browser sends none by what it says of the page that asks. Following a link here is no harm."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host", ""):
        return True
    is_link = method == "GET" and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _names_of_this_machine() -> set[str]:
    name = socket.gethostname().lower()
    return {name, f"{name}.local"}


async def _refuse(why: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(why, status)(scope, receive, send)
