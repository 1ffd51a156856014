"""Runs one command; writes its exit status, wall time, processor time, peak memory and when each
line of its standard error came to a JSON file. It hands SIGTERM on to the command.

    python -I -S measure.py RESULT.json STDOUT STDERR COMMAND ...

Linux starts the peak memory of a process at what the process that made it held at that moment, so a
large parent would hide a small child. This program is small and stands between them.
"""

import json
import os
import signal
import sys
import time


def main():
    result, stdout, stderr, *command = sys.argv[1:]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    read_end, write_end = os.pipe()
    actions = [(os.POSIX_SPAWN_OPEN, 1, stdout, flags, 0o644), (os.POSIX_SPAWN_DUP2, write_end, 2)]
    begun = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(process, signal.SIGTERM))
    os.close(write_end)
    line_seconds = []
    with open(read_end, "rb") as lines, open(stderr, "wb", buffering=0) as written:
        for line in lines:
            line_seconds.append(time.monotonic() - begun)
            written.write(line)
    _, status, usage = os.wait4(process, 0)
    wall = time.monotonic() - begun
    figures = {
        "status": os.waitstatus_to_exitcode(status),
        "wall_seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "memory_mib": usage.ru_maxrss / 1024,
        "line_seconds": line_seconds,
    }
    with open(result, "w") as target:
        json.dump(figures, target)


if __name__ == "__main__":
    main()
