"""A connection between two processes that a test can cut, hold up, or answer in the server's place."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

COMMIT_SECONDS = 0.5
"""That Postgres takes at most to commit what it was sent."""


class Relay:
    """Passes bytes on between a port of its own and a server.

    Attributes:
        port: that a client is given instead of the server's.
        url: the same for HTTP.
        sent: bytes from clients so far.
        received: bytes to clients so far.
        cut_sent: once this many bytes came from clients, their connections are cut, once; None does nothing.
        cut_received: the same for bytes to clients.
        refuses: new connections are closed at once.
        answer: what a new connection gets instead of the server's answer, before it is closed.
        commits_after: the first transaction of Postgres that contains this is committed, its client does not hear of it
            and is cut off, once; None does nothing.
    """

    def __init__(self, target: str) -> None:
        address = urlsplit(target)
        self._target = (address.hostname, address.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self.sent = self.received = 0
        self.cut_sent: int | None = None
        self.cut_received: int | None = None
        self.refuses = False
        self.answer: bytes | None = None
        self.commits_after: bytes | None = None
        self._flows = threading.Event()
        self._flows.set()
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Close every connection."""
        with self._lock:
            open_now, self._open = self._open, []
        for each in open_now:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Inside, every connection is cut and new ones are refused."""
        self.refuses = True
        self.cut()
        try:
            yield
        finally:
            self.refuses = False

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Inside, connections stay open and nothing comes through, as when a server hangs."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    @contextlib.contextmanager
    def answering(self, answer: bytes) -> Iterator[None]:
        """Inside, the server's answer is this one."""
        self.answer = answer
        self.cut()
        try:
            yield
        finally:
            self.answer = None
            self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.answer is not None:
                threading.Thread(target=self._answer, args=(client, self.answer), daemon=True).start()
                continue
            try:
                if self.refuses:
                    raise ConnectionRefusedError
                service = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open += [client, service]
            is_mute = threading.Event()
            threading.Thread(target=self._pass_on, args=(client, service, True, is_mute), daemon=True).start()
            threading.Thread(
                target=self._pass_on, args=(service, client, False, is_mute), daemon=True
            ).start()

    def _answer(self, client: socket.socket, answer: bytes) -> None:
        with contextlib.suppress(OSError), client:
            client.recv(65536)
            client.sendall(answer)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):  # what is closed with bytes unread is reset, and the answer with it
                pass

    def _pass_on(
        self, source: socket.socket, target: socket.socket, is_client: bool, is_mute: threading.Event
    ) -> None:
        is_awaited = False
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                allowed = self._until_cut(len(data), is_client)
                if allowed is not None:
                    target.sendall(data[:allowed])
                    self.cut()
                    return
                self._flows.wait()
                if is_mute.is_set():
                    return
                if is_client and self.commits_after is not None:
                    is_awaited = is_awaited or self.commits_after in data
                    if is_awaited and b"COMMIT" in data:
                        self.commits_after = None
                        is_mute.set()
                        target.sendall(data)
                        time.sleep(COMMIT_SECONDS)
                        self.cut()
                        return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _until_cut(self, size: int, is_client: bool) -> int | None:
        """How many of these bytes still pass before the connections are cut; None: all, and they are not cut."""
        with self._lock:
            if is_client:
                before, limit = self.sent, self.cut_sent
                self.sent += size
            else:
                before, limit = self.received, self.cut_received
                self.received += size
            if limit is None or before + size <= limit:
                return None
            if is_client:
                self.cut_sent = None
            else:
                self.cut_received = None
            return max(0, limit - before)


@contextlib.contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    relay = Relay(url)
    try:
        yield relay
    finally:
        relay.close()
