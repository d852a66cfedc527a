"""Run a module that ends when its supervisor is gone: `python -m core.lifeline FD MODULE [ARGUMENT …]`.

The supervisor holds the writing end of a pipe and never writes. However it ends, also by SIGKILL, the system closes
that end, and the reader here sees it. Nothing needs to be cleaned up by anybody.
"""

import os
import runpy
import signal
import sys
import threading
import time

GRACE_SECONDS = 20.0


def watch(fd: int) -> None:
    """Wait for the supervisor's end, then stop this process: gently first, then with all it started."""
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Watch in the background and be the module."""
    fd, module = int(sys.argv[1]), sys.argv[2]
    threading.Thread(target=watch, args=(fd,), daemon=True).start()
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
