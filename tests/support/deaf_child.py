"""A child process that asks for an answer, does not wait for it, and is killed: run as a module by its parent."""

from __future__ import annotations

import os
import signal
import sys
import time


def main() -> None:
    sys.stdin.buffer.readline()
    os.close(0)
    sys.stdout.write('{"wait": true}\n')
    sys.stdout.flush()
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
