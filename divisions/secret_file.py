"""Files of users that hold a secret: who may read them besides us. Pure."""

from __future__ import annotations

import stat

from divisions.errors import SettingsError


def check_mode(setting: str, path: object, mode: int) -> None:
    """Refuses a file that others can read or change.

    Its group may read it: that is how Debian's group ssl-cert and Kubernetes' fsGroup hand a secret over.

    >>> check_mode("DIVISIONS_TLS_KEY", "tls.key", 0o640)
    >>> check_mode("DIVISIONS_TLS_KEY", "tls.key", 0o644)
    Traceback (most recent call last):
    ...
    divisions.errors.SettingsError: DIVISIONS_TLS_KEY: others can read or change tls.key (mode 0644). chmod 600 tls.key

    Raises:
        SettingsError: see above.
    """
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise SettingsError(
            f"{setting}: others can read or change {path} (mode {stat.S_IMODE(mode):04o})", remedy=f"chmod 600 {path}"
        )
