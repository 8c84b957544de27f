"""The command ``cld``."""

import signal
import sys

from . import _native


def main() -> None:
    # Python's own handler would wait for the command to end
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_native.cld(["cld", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
