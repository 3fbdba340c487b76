"""A connection to Ray: found at an address, named if it fails, and closed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from emo_prune.errors import SettingsError

LOCAL = "local"
_OPTION = "--ray"
_OBJECTS = 2**28  # bytes of a local Ray's store; what is sent here is far smaller
_SECONDS = 30  # that a cluster has to answer; Ray itself would try for many minutes
_HOST_AND_PORT = re.compile(r"(?:ray://)?\[?([^/\[\]]+)\]?:(\d+)")
_QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_PROBE = f"import sys, ray; ray.init(address=sys.argv[1], **{_QUIET})"


def check_ray(address: str, device: str | None) -> None:
    """See that Ray is installed and that a cluster answers at an address.

    Raises:
        SettingsError: it is not, or none does; or workers have no such device.
    """
    try:
        import ray  # noqa: F401
    except ImportError:
        raise SettingsError(
            "Ray is not installed",
            where=_OPTION,
            hint="pip install 'emo-prune[ray]', or leave out --ray",
        ) from None
    if device is not None and ":" in device:
        raise SettingsError(
            "each of Ray's workers sees the one device it is given",
            where="--device",
            got=device,
            expected="cpu, cuda or auto",
            hint="leave out --device: workers take a GPU each where there are any",
        )
    if address != LOCAL:
        _check_answer(address)


def _check_answer(address: str) -> None:
    """Raise `SettingsError` where no cluster answers in time."""
    told = _HOST_AND_PORT.fullmatch(address)
    try:
        if told:
            socket.create_connection((told[1], int(told[2])), timeout=5).close()
        subprocess.run(
            [sys.executable, "-c", _PROBE, address],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except (OSError, OverflowError) as error:
        raise _no_answer(address, str(error)) from None
    except subprocess.TimeoutExpired:
        raise _no_answer(address, f"nothing for {_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        lines = str(error.stderr).strip().splitlines() or [""]
        raise _no_answer(address, lines[-1][:300]) from None


def _no_answer(address: str, got: str) -> SettingsError:
    return SettingsError(
        "no Ray cluster answers",
        where=f"{_OPTION} {address}",
        got=got,
        expected="local, auto, or HOST:PORT of a cluster's head node",
        hint="see `ray status` there (a cluster with tokens needs RAY_AUTH_MODE=token "
        "here as well), or start one here with --ray local",
    )


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Hold a connection; a local Ray lives as long as it does.

    What Ray tells of workers that die goes to stderr: stdout is for results.
    """
    import ray

    # a tool should not report home, nor warn of what Ray will do about GPUs one day
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own: dict[str, Any] = {}
    if address == LOCAL:
        own = {"include_dashboard": False, "object_store_memory": _OBJECTS}
    stop = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, **_QUIET, **own)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise _no_answer(address, str(error)[:300]) from None
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)  # Ray has set one of its own
        yield
    finally:
        ray.shutdown()
