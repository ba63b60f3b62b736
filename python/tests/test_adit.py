"""The module in the environment that it was installed into: the real program where nothing has to be installed, a stand-in where it would."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Callable, cast
from unittest import mock

import adit
from adit import _program

VARIABLES = ("ADIT_BASTION_SERVER", "ADIT_SECRET_KEY_PATH", "SCITEX_TUNNEL_BASTION_SERVER", "SCITEX_TUNNEL_SECRET_KEY_PATH")

TUNNEL: adit.Tunnel = {
    "port": 2222,
    "scope": "system",
    "unit": "adit-tunnel-2222.service",
    "path": "/etc/systemd/system/adit-tunnel-2222.service",
    "bastion": "me@bastion:22",
    "target": "localhost:22",
    "state": "connected",
    "since": 1_700_000_000_000,
    "uptime_seconds": 7,
    "restarts": 0,
    "last_error": None,
    "linger": None,
    "cron": False,
}

# Writes down what it was called with, and answers what it was told to.
STAND_IN = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path(__file__).parent
(folder / "called.json").write_text(json.dumps(sys.argv[1:]))
answer = json.loads((folder / "answer.json").read_text())
sys.stdout.write(answer["stdout"])
sys.stderr.write(answer["stderr"])
sys.exit(answer["exit"])
"""


class StandIn:
    """A program in the place of the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "adit"
        self.path.write_text(STAND_IN.format(python=sys.executable))
        self.path.chmod(0o755)

    def answers(self, answer: object = None, error: dict[str, str] | None = None, exit: int = 0, log: str = "") -> None:
        stdout = "" if answer is None else json.dumps(answer) + "\n"
        stderr = log + ("" if error is None else json.dumps(error) + "\n")
        (self.folder / "answer.json").write_text(json.dumps({"stdout": stdout, "stderr": stderr, "exit": exit}))

    def called(self) -> list[str]:
        return cast("list[str]", json.loads((self.folder / "called.json").read_text()))


class Story(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name)
        kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        environment = mock.patch.dict(os.environ, {**kept, "HOME": folder.name}, clear=True)
        environment.start()
        self.addCleanup(environment.stop)

    def stand_in(self) -> StandIn:
        stand_in = StandIn(self.home)
        found = mock.patch.object(_program, "find", return_value=str(stand_in.path))
        found.start()
        self.addCleanup(found.stop)
        return stand_in


class Arguments(Story):
    def test_a_port_is_a_whole_number_from_1_to_65535(self) -> None:
        bad: list[object] = [0, -1, 65536, 70000, "2222", 22.0, True, False, None, b"22"]
        for port in bad:
            calls: list[Callable[[Any], object]] = [lambda port: adit.setup(port, "me@bastion", "key"), adit.remove]
            if port is not None:
                calls.append(adit.status)
            for call in calls:
                with self.assertRaisesRegex(ValueError, "port is .* from 1 to 65535"):
                    call(port)

    def test_a_missing_bastion_names_the_flag_and_the_variable(self) -> None:
        with self.assertRaisesRegex(ValueError, "-b .*ADIT_BASTION_SERVER"):
            adit.setup(2222)

    def test_a_missing_key_names_the_flag_and_the_variable(self) -> None:
        with self.assertRaisesRegex(ValueError, "-s .*ADIT_SECRET_KEY_PATH"):
            adit.setup(2222, "me@bastion")

    def test_variables_count_where_arguments_are_missing(self) -> None:
        os.environ["SCITEX_TUNNEL_BASTION_SERVER"] = "me@bastion"
        with self.assertRaisesRegex(ValueError, "ADIT_SECRET_KEY_PATH"):
            adit.setup(2222)
        os.environ["ADIT_SECRET_KEY_PATH"] = str(self.home / "no key")
        done = adit.setup(2222, scope="supervised")
        self.assertFalse(done["success"])
        self.assertIn("no key", done["error"] or "")

    def test_a_file_of_variables_counts_where_it_is_named(self) -> None:
        (self.home / ".env").write_text("ADIT_BASTION_SERVER=me@bastion\n")
        with self.assertRaisesRegex(ValueError, "ADIT_BASTION_SERVER"):
            adit.setup(2222)
        with self.assertRaisesRegex(ValueError, "ADIT_SECRET_KEY_PATH"):
            adit.setup(2222, env_file=self.home / ".env")

    def test_what_cannot_be_an_argument_is_refused_before_anything_is_done(self) -> None:
        for bastion in ["", "-oProxyCommand=x", "me@bastion\nExecStart=/bin/sh", "me@bastion:0", "a b", "me@bastion\0"]:
            with self.assertRaises(ValueError, msg=repr(bastion)):
                adit.setup(2222, bastion, "key", scope="supervised")
        with self.assertRaisesRegex(ValueError, "scope is 'root'"):
            adit.setup(2222, "me@bastion", "key", scope=cast(Any, "root"))
        self.assertEqual(list(self.home.iterdir()), [], "nothing was written")


class Real(Story):
    def test_there_is_no_such_tunnel(self) -> None:
        for told in (adit.status(64999, scope="supervised"), adit.remove(64999, scope="supervised")):
            self.assertEqual((told["success"], told["exit_code"]), (False, 4))
            self.assertIn("64999", told["error"] or "")
            self.assertTrue(told["code"])

    def test_all_of_none_are_connected(self) -> None:
        told = adit.status(scope="supervised")
        self.assertEqual((told["success"], told["exit_code"], told["tunnels"]), (True, 0, []))
        self.assertEqual(json.loads(told["stdout"]), {"tunnels": []})

    def test_program_and_module_have_one_version(self) -> None:
        self.assertEqual(adit.get_version(), adit.__version__)
        self.assertRegex(adit.__version__, r"^\d+\.\d+\.\d+")

    def test_the_program_is_the_one_beside_the_interpreter(self) -> None:
        self.assertEqual(Path(_program.find()), Path(sys.executable).parent / "adit")
        told = subprocess.run([sys.executable, "-m", "adit", "--version"], capture_output=True, text=True, check=True)
        self.assertEqual(told.stdout, f"adit {adit.__version__}\n")
        told = subprocess.run([sys.executable, "-m", "adit", "status", "-p", "0"], capture_output=True, text=True)
        self.assertEqual(told.returncode, 2)

    def test_the_program_lists_what_the_module_has(self) -> None:
        listed = json.loads(_program.run(["list-python-apis", "--json"]).stdout)
        names = [name for name in adit.__all__ if not inspect.isclass(getattr(adit, name))]
        self.assertEqual(sorted(api["name"] for api in listed), sorted([*names, "__version__"]))
        for api in listed:
            if api["name"] == "__version__":
                continue
            function = getattr(adit, api["name"])
            self.assertEqual(api["signature"], signature(function))
            documented = " ".join((inspect.getdoc(function) or "").split())
            self.assertEqual(f"{api['summary']} {api['details']}".strip(), documented)


class Shapes(Story):
    def test_a_tunnel_that_was_set_up(self) -> None:
        stand_in = self.stand_in()
        checks = [{"check": "key", "told": "it can be read"}]
        stand_in.answers({"tunnel": TUNNEL, "checks": checks, "reach": "ssh -p 2222 bastion"}, log="a line of the log\n")
        done = adit.setup(2222, "me@bastion", Path("/a key"), target="localhost:80", bind="*", scope="user", accept_host_key="SHA256:x")
        self.assertEqual(
            stand_in.called(),
            ["setup", "--json", "--user", "--port=2222", "--bastion=me@bastion", "--secret-key=/a key", "--target=localhost:80",
             "--bind=*", "--accept-host-key=SHA256:x"],
        )
        self.assertEqual(set(done), set(adit.SetupResult.__annotations__) | set(adit.Result.__annotations__))
        self.assertEqual((done["success"], done["tunnel"], done["checks"]), (True, TUNNEL, checks))
        self.assertEqual((done["reach"], done["error"], done["code"]), ("ssh -p 2222 bastion", None, None))
        self.assertEqual(done["stderr"], "a line of the log\n")

    def test_where_a_tunnel_is_kept_is_one_flag(self) -> None:
        stand_in = self.stand_in()
        stand_in.answers({})
        for scope, flag in {"system": "--system", "user": "--user", "supervised": "--supervise", "cron": "--cron"}.items():
            adit.setup(1, "b", "k", scope=cast(Any, scope))
            self.assertEqual(stand_in.called()[:3], ["setup", "--json", flag])
        adit.status()
        self.assertEqual(stand_in.called(), ["status", "--json"])
        adit.remove(65535, scope="system")
        self.assertEqual(stand_in.called(), ["remove", "--json", "--system", "--port=65535"])

    def test_a_tunnel_that_is_not_connected_is_told_all_the_same(self) -> None:
        stand_in = self.stand_in()
        lost = {**TUNNEL, "state": "reconnecting", "last_error": "the port is held"}
        error = {"error": "a tunnel is not connected", "code": "inactive"}
        stand_in.answers({"tunnels": [lost]}, error=error, exit=3)
        told = adit.status(2222)
        self.assertEqual((told["success"], told["exit_code"], told["tunnels"]), (False, 3, [lost]))
        self.assertEqual((told["error"], told["code"]), ("a tunnel is not connected", "inactive"))

    def test_a_tunnel_that_was_removed(self) -> None:
        stand_in = self.stand_in()
        removed = {"port": 2222, "scope": "system", "unit": "adit-tunnel-2222.service"}
        stand_in.answers({"removed": removed})
        told = adit.remove(2222)
        self.assertEqual((told["success"], told["removed"]), (True, removed))

    def test_a_failure_is_told_by_all_keys(self) -> None:
        stand_in = self.stand_in()
        stand_in.answers(error={"error": "root is needed", "code": "needs-root"}, exit=1)
        done = adit.setup(2222, "me@bastion", "key")
        self.assertEqual((done["success"], done["exit_code"], done["error"]), (False, 1, "root is needed"))
        self.assertEqual((done["tunnel"], done["checks"], done["reach"]), (None, [], None))

    def test_a_program_that_is_killed_is_no_success(self) -> None:
        stand_in = self.stand_in()
        stand_in.path.write_text("#!/bin/sh\nkill -9 $$\n")
        told = adit.status()
        self.assertEqual((told["success"], told["exit_code"], told["tunnels"], told["error"]), (False, -9, [], None))


class Finding(Story):
    def test_without_a_program_of_its_own_path_counts(self) -> None:
        stand_in = StandIn(self.home)
        with mock.patch("sysconfig.get_path", return_value=str(self.home / "nowhere")):
            with mock.patch.dict(os.environ, {"PATH": str(self.home)}):
                self.assertEqual(_program.find(), str(stand_in.path))
            with mock.patch.dict(os.environ, {"PATH": ""}):
                with self.assertRaisesRegex(FileNotFoundError, "install the package adit again"):
                    _program.find()


def signature(function: Callable[..., object]) -> str:
    """As it stands in the source: `str()` of a signature differs from Python to Python."""
    told = inspect.signature(function)
    words: list[str] = []
    for parameter in told.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        words.append(f"{parameter.name}: {parameter.annotation}{default}")
    return f"({', '.join(words)}) -> {told.return_annotation}".replace('"', "'")


if __name__ == "__main__":
    unittest.main()
