"""A terminal of a given width: what stands on its screen while a program runs, and in the end."""

import fcntl
import os
import pty
import struct
import subprocess
import termios

import pyte

LINES = 60


def watched(line, columns, cwd, environment):
    """The exit code, the last screen, and every screen on the way, as lists of lines, of a program in a pseudo-terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    environment = {**environment, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    screen = pyte.Screen(columns, LINES)
    stream, screens = pyte.ByteStream(screen), []
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment) as program:
        os.close(theirs)
        try:
            while data := os.read(ours, 65536):
                stream.feed(data)
                screens.append(shown(screen))
        except OSError:  # Linux says so when the other end is closed
            pass
        finally:
            os.close(ours)
        code = program.wait(timeout=60)
    return code, shown(screen), screens


def shown(screen):
    return [line.rstrip() for line in screen.display if line.strip()]
