"""Tunnels that survive reboots: the commands ``adit setup``, ``status`` and ``remove`` as functions.

Each runs the program ``adit`` and returns what it said, as a dict. A ``ValueError`` says that an argument is missing or cannot be one;
whatever else goes wrong is told in the dict, by ``success``, ``exit_code``, ``error`` and ``code``.
"""

from __future__ import annotations

import os
from importlib.metadata import version as _version
from typing import Any, Literal, TypedDict

from . import _program

__all__ = [
    "Check",
    "RemoveResult",
    "Removed",
    "Result",
    "SetupResult",
    "StatusResult",
    "Tunnel",
    "get_version",
    "remove",
    "setup",
    "status",
]

__version__: str = _version("adit")


class Tunnel(TypedDict):
    """An installed tunnel, and how it is."""

    port: int
    scope: Literal["system", "user", "supervised"]
    unit: str | None
    path: str
    bastion: str | None
    target: str | None
    state: Literal["connected", "connecting", "reconnecting", "failed", "stopped", "unknown"]
    # Milliseconds since 1970.
    since: int | None
    uptime_seconds: int | None
    restarts: int
    last_error: str | None
    # Whether a tunnel of a user outlives a logout and a reboot.
    linger: Literal["enabled", "disabled"] | None
    # Whether a crontab starts it with the machine.
    cron: bool


class Check(TypedDict):
    """Something that was looked at before a tunnel was installed, and is as it should be."""

    check: str
    told: str


class Removed(TypedDict):
    """A tunnel that was there."""

    port: int
    scope: Literal["system", "user", "supervised"]
    unit: str | None


class Result(TypedDict):
    """How the program ended, and what it said."""

    # Whether it did all that was asked: its exit code is 0.
    success: bool
    exit_code: int
    stdout: str
    stderr: str
    # What went wrong: a sentence for people, and its name for programs.
    error: str | None
    code: str | None


class SetupResult(Result):
    """The tunnel as it was when it had come up, or when it had been waited for."""

    tunnel: Tunnel | None
    checks: list[Check]
    # A command with which others reach this machine.
    reach: str | None


class StatusResult(Result):
    """The tunnels there are; success means that all of them are connected."""

    tunnels: list[Tunnel]


class RemoveResult(Result):
    """The tunnel that is gone."""

    removed: Removed | None


def setup(
    port: int,
    bastion_server: str | None = None,
    secret_key_path: str | os.PathLike[str] | None = None,
    *,
    target: str | None = None,
    bind: str | None = None,
    scope: Literal["system", "user", "supervised", "cron"] = "system",
    accept_host_key: str | None = None,
    env_file: str | os.PathLike[str] | None = None,
) -> SetupResult:
    """Keep a port of a bastion leading to this machine, from boot on.

    The bastion is ``[user@]host[:port]``; without it, and without a key, the variables ADIT_BASTION_SERVER and ADIT_SECRET_KEY_PATH
    count. The port leads to ``target`` (``localhost:22``). The system's services (``scope="system"``) take root; ``"user"`` is a service
    of your own, ``"supervised"`` a process in the background, and ``"cron"`` one that comes back after a reboot.
    """
    flags: dict[str, str | os.PathLike[str] | None] = {
        "--port": _port(port),
        "--bastion": bastion_server,
        "--secret-key": secret_key_path,
        "--target": target,
        "--bind": bind,
        "--accept-host-key": accept_host_key,
        "--env-file": env_file,
    }
    result, told = _run("setup", flags, _scope(scope, _SETUP_SCOPES))
    return {**result, "tunnel": told.get("tunnel"), "checks": told.get("checks", []), "reach": told.get("reach")}


def status(port: int | None = None, *, scope: Literal["system", "user", "supervised"] | None = None) -> StatusResult:
    """Tell how the tunnel of a port is, or all of them.

    Success means that they are connected: of a tunnel that is not, exit code 3 and ``tunnels`` say so; 4 says that there is none.
    """
    result, told = _run("status", {"--port": None if port is None else _port(port)}, _scope(scope, _SCOPES))
    return {**result, "tunnels": told.get("tunnels", [])}


def remove(port: int, *, scope: Literal["system", "user", "supervised"] | None = None) -> RemoveResult:
    """Take the tunnel of a port away, with all that was made for it.

    Exit code 4 says that there was none.
    """
    result, told = _run("remove", {"--port": _port(port)}, _scope(scope, _SCOPES))
    return {**result, "removed": told.get("removed")}


def get_version() -> str:
    """Ask the program for its version, which is that of this module where both came together."""
    said = _program.run(["--version"]).stdout.split()
    if not said:
        raise RuntimeError(f"{_program.find()} does not say its version")
    return said[-1]


_SCOPES = {"system": "--system", "user": "--user", "supervised": "--supervise"}
_SETUP_SCOPES = {**_SCOPES, "cron": "--cron"}

# What the program says of arguments that are missing, or cannot be what they are given for.
_NOT_AN_ARGUMENT = {"usage", "missing-setting", "bad-address", "bad-text", "no-user"}


def _port(port: int) -> str:
    # True is an int, and 1 is a port; somebody who says True means something else.
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise ValueError(f"port is {port!r}, and has to be a whole number from 1 to 65535")
    return str(int(port))


def _scope(scope: str | None, known: dict[str, str]) -> list[str]:
    if scope is None:
        return []
    if scope not in known:
        raise ValueError(f"scope is {scope!r}, and has to be one of {', '.join(map(repr, known))}")
    return [known[scope]]


def _run(
    command: str, flags: dict[str, str | os.PathLike[str] | None], switches: list[str]
) -> tuple[Result, dict[str, Any]]:
    """What came of a command, and what it answered."""
    # `--flag=value` is one word, so that no value can be taken for a flag.
    words = [f"{flag}={os.fsdecode(value)}" for flag, value in flags.items() if value is not None]
    ended = _program.run([command, "--json", *switches, *words])
    trouble = {} if ended.returncode == 0 else _program.last_object(ended.stderr)
    result: Result = {
        "success": ended.returncode == 0,
        "exit_code": ended.returncode,
        "stdout": ended.stdout,
        "stderr": ended.stderr,
        "error": trouble.get("error"),
        "code": trouble.get("code"),
    }
    if result["code"] in _NOT_AN_ARGUMENT:
        raise ValueError(result["error"])
    return result, _program.last_object(ended.stdout)
