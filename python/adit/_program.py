"""The program ``adit``: where it is, and what it says."""

import json
import os
import shutil
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
    """Runs it to its end, with nobody to ask."""
    return subprocess.run(
        [find(), *words], stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", check=False
    )


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
