"""The program ``adit``: where it is, and what it says."""

import json
import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAME = "adit"


def find() -> str:
    """The program that was installed with this module, or else the first on PATH."""
    beside = [
        Path(sysconfig.get_path("scripts")),
        Path(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))),
        # `pip install --target FOLDER` puts programs into FOLDER/bin.
        Path(__file__).parent.parent / "bin",
    ]
    for folder in beside:
        program = folder / NAME
        if os.access(program, os.X_OK) and program.is_file():
            return str(program)
    found = shutil.which(NAME)
    if found is None:
        raise FileNotFoundError(f"the program {NAME} is neither in {beside[0]} nor on PATH; install the package adit again")
    return found


def run(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Runs it to its end, with nobody to ask. Ctrl-C is for it too, and it finishes what would be half done otherwise."""
    command = [find(), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace"
    ) as program:
        try:
            stdout, stderr = program.communicate()
        except KeyboardInterrupt:
            # A terminal has sent it to the program as well; of a signal to this process alone it has not heard.
            program.send_signal(signal.SIGINT)
            program.communicate()
            raise
    return subprocess.CompletedProcess(command, program.returncode, stdout, stderr)


def last_object(text: str) -> dict[str, Any]:
    """The last line that is a JSON object, or an empty one: with --json answers and errors are one line each, and a log may stand before."""
    for line in reversed(text.splitlines()):
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}
