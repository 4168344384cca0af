"""Three replicas, and what befalls them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from support import Keyring, Service


class Replicas:
    """`mintage serve` three times, with one store and one keyring. Each keeps its address."""

    def __init__(
        self, folder: Path, keyring: Keyring, issuer_url: str, store: str, count: int = 3
    ) -> None:
        self._folder, self._keyring, self._issuer_url = folder, keyring, issuer_url
        self._store = f"[store]\n{store}"
        self._services: list[Service] = []
        for _ in range(count):
            self._services.append(self._started(None))

    @property
    def addresses(self) -> list[str]:
        return [service.address for service in self._services]

    def restart_in_turn(self, found: Callable[[Service], None]) -> None:
        """As a rollout does: the next one only when this one is ready, and has been for as long as it
        takes until it is `found` again (what `minReadySeconds` is for)."""
        for at in range(len(self._services)):
            self.stop(at)
            found(self.start(at))

    def stop(self, at: int) -> None:
        """SIGTERM, and waits for the end of the process."""
        self._services[at].stop()

    def kill(self, at: int) -> None:
        """SIGKILL."""
        self._services[at].kill()

    def start(self, at: int) -> Service:
        """Starts it where it was, and waits until it is ready."""
        self._services[at] = self._started(self._services[at].port)
        return self._services[at]

    def freeze(self, at: int) -> None:
        """SIGSTOP: its connections stay open, and nothing answers."""
        self._services[at].process.send_signal(signal.SIGSTOP)

    def thaw(self, at: int) -> None:
        self._services[at].process.send_signal(signal.SIGCONT)

    def all_run(self) -> bool:
        """Whether none has ended by itself."""
        return all(service.process.poll() is None for service in self._services)

    def close(self) -> None:
        for service in self._services:
            service.process.send_signal(signal.SIGCONT)
            service.stop()

    def _started(self, port: int | None) -> Service:
        return Service(
            self._folder, self._keyring, self._issuer_url, port=port, store=self._store
        )
