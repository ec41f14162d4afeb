"""Runs one command and says how long it took and how much memory it had at most. Started as a script of its own.

    python -I -S launch.py OUTPUT COMMAND...

Linux counts the memory of the process that a command was started from as the command's own: `ru_maxrss` keeps the peak from
before the exec. So a small process must do the starting, and this one imports next to nothing. The standard output of the command
goes to the file OUTPUT; one line of JSON with `seconds`, `cpu`, `peak` (bytes) and `status` goes to this process's own.
"""

import os
import sys
import time


def main() -> None:
    output, command = sys.argv[1], sys.argv[2:]
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - began
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    print(f'{{"seconds": {seconds}, "cpu": {cpu}, "peak": {peak}, "status": {os.waitstatus_to_exitcode(status)}}}')


main()
