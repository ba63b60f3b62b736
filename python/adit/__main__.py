"""``python -m adit`` is the program ``adit``."""

import os
import sys

from . import _program


def main() -> None:
    program = _program.find()
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
