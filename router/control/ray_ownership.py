"""Which Serve applications on a Ray cluster are ours, in Ray's own key-value store.

A cluster that others use too has their applications beside ours. ``divisions down`` must stop ours and nothing else,
also when the controller and its journal are away. So each name is written before the application is started.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ray.experimental import internal_kv as kv

_NAMESPACE = b"divisions"
_PREFIX = "application/"
_SERVE = b"serve-started"


class Ledger:
    """The applications that one starter has started. Only names that ``is_its`` accepts are its own to forget."""

    def __init__(self, is_its: Callable[[str], bool]) -> None:
        self._is_its = is_its
        self._names: set[str] | None = None

    def starts(self, app_name: str) -> None:
        """Writes a name. Call it before the application is started."""
        kv._internal_kv_put(_key(app_name), b"1", overwrite=True, namespace=_NAMESPACE)
        self._names = {*(self._names or ()), app_name}

    def sees(self, running: Iterable[str]) -> None:
        """Forgets the names of applications that have gone: others may use them now."""
        if self._names is None:
            self._names = {name for name in owned() if self._is_its(name)}
        for gone in self._names - set(running):
            kv._internal_kv_del(_key(gone), namespace=_NAMESPACE)
        self._names &= set(running)

    def owns(self, app_name: str) -> bool:
        """Whether it was started by this starter, or by one before. `sees` comes first."""
        return app_name in (self._names or ())


def owned() -> set[str]:
    """Every application that is ours."""
    keys = kv._internal_kv_list(_PREFIX.encode(), namespace=_NAMESPACE) or []
    return {key.decode().removeprefix(_PREFIX) for key in keys}


def forget_all() -> None:
    for name in owned():
        kv._internal_kv_del(_key(name), namespace=_NAMESPACE)
    kv._internal_kv_del(_SERVE, namespace=_NAMESPACE)


def _key(app_name: str) -> bytes:
    return f"{_PREFIX}{app_name}".encode()


def note_serve_started() -> None:
    """Ray Serve did not run before we came, so it is ours to stop when no application is left."""
    kv._internal_kv_put(_SERVE, b"1", overwrite=True, namespace=_NAMESPACE)


def is_serve_ours() -> bool:
    return bool(kv._internal_kv_exists(_SERVE, namespace=_NAMESPACE))
