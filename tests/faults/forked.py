"""Processes forked from one that has imported TensorFlow, which takes longer than anything they do.

TensorFlow starts no thread before the first session, so a process forked before that can use it.
"""
import os
import signal
import subprocess
import sys
import time
import traceback

from utils.utils import STOP_SIGNALS


class Forked(object):
    """What subprocess.Popen offers, of it what local_pool.py and the tests use.

    Args:
        words: the command line; its first two words, Python and a program, are passed over.
        call: function of the other words that gives the exit status.
    """

    def __init__(self, words, call, stdin=None, stdout=None, stderr=None, env=None, cwd=None,
                 start_new_session=False):
        theirs, ours = [[None] * 3, [None] * 3]
        for number, stream in enumerate((stdin, stdout, stderr)):
            if stream == subprocess.PIPE:
                ends = os.pipe()
                theirs[number], ours[number] = ends if number == 0 else ends[::-1]
            elif stream not in (None, subprocess.STDOUT):
                theirs[number] = stream.fileno()
        self.args, self.returncode, self.pid = words, None, os.fork()
        if not self.pid:
            self._become(words, call, theirs, stderr == subprocess.STDOUT, env)
        for end, stream in zip(theirs, (stdin, stdout, stderr)):
            if stream == subprocess.PIPE:
                os.close(end)
        self.stdin, self.stdout = [end and os.fdopen(end, mode) for end, mode in zip(ours, ('wb', 'rb'))]

    def _become(self, words, call, streams, merged, env):
        status = 1
        try:
            for number in STOP_SIGNALS:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT
                              else signal.SIG_DFL)
            os.setsid()
            for number, stream in enumerate(streams):
                if stream is not None:
                    os.dup2(stream, number)
            if merged:
                os.dup2(1, 2)
            os.closerange(3, 1024)        # locks and the other ends of pipes are the parent's
            sys.stdout, sys.stderr = [os.fdopen(number, 'w', 1, closefd=False) for number in (1, 2)]
            os.environ.clear()
            os.environ.update(env)
            status = call(words[2:])
        except SystemExit as exit_:
            status = exit_.code
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError):
                    pass
            os._exit(status)

    def poll(self):
        """The exit status, None before there is one."""
        if self.returncode is None:
            self._buried(os.waitpid(self.pid, os.WNOHANG))
        return self.returncode

    def wait(self, timeout=None):
        """The exit status."""
        end = timeout and time.monotonic() + timeout
        while end and self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.005)
        if self.returncode is None:
            self._buried(os.waitpid(self.pid, 0))
        return self.returncode

    def _buried(self, found):
        pid, status = found
        if pid:
            self.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def send_signal(self, number):
        """As Popen's; not for a process that somebody waits for in another thread once it is buried."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self):
        """As Popen's."""
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        """As Popen's."""
        self.send_signal(signal.SIGTERM)
