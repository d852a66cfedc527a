"""A connection between client and service that a test can cut."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on between a port of its own and a service.

    Attributes:
        url: that a client is given instead of the service's.
        sent: bytes from clients so far.
        received: bytes to clients so far.
        cut_sent: once this many bytes came from clients, their connections are cut, once; None does nothing.
        cut_received: the same for bytes to clients.
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
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
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

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                service = socket.create_connection(self._target)
            except OSError:
                return
            with self._lock:
                self._open += [client, service]
            threading.Thread(target=self._pass_on, args=(client, service, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(service, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if self._counts_to_a_cut(len(data), is_client):
                    self.cut()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _counts_to_a_cut(self, size: int, is_client: bool) -> bool:
        with self._lock:
            if is_client:
                self.sent += size
                if self.cut_sent is not None and self.sent > self.cut_sent:
                    self.cut_sent = None
                    return True
            else:
                self.received += size
                if self.cut_received is not None and self.received > self.cut_received:
                    self.cut_received = None
                    return True
        return False


@contextlib.contextmanager
def relay_to(url: str) -> Iterator[Relay]:
    relay = Relay(url)
    try:
        yield relay
    finally:
        relay.close()
