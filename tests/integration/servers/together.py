"""Run programs side by side, each in the foreground, and pass signals on to all.

    python3 together.py TERM-SIGNAL COMMAND...

Each COMMAND is one argument for a shell; TERM-SIGNAL is what they get for SIGTERM. For
servers that have one key per process. Ends when all have, with 1 if one failed on its own.
"""
import signal
import subprocess
import sys


def main(term_signal, *commands):
    term = signal.Signals[term_signal]
    programs = []

    def pass_on(number, _):
        for program in programs:
            program.send_signal(term if number == signal.SIGTERM else number)

    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, pass_on)
    for command in commands:
        programs.append(subprocess.Popen(f"exec {command}", shell=True))
    codes = [program.wait() for program in programs]
    return 0 if set(codes) <= {0, -term} else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
