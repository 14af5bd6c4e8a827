"""How far a run is: the bar on a terminal, the line in a file."""
import ast
import fcntl
import glob
import itertools
import os
import pty
import re
import select
import struct
import sys
import termios
from unittest import mock

import pytest

from classification.runs import cluster_trial
from classification.runs import progress as progress_module
from classification.runs.progress import Progress
from tests.support.commands import ROOT


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns; called, it takes the place of stderr, and `read` gives what was shown on
    it."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
    stream = os.fdopen(writer, 'w')

    class Terminal(object):
        """The two ends of it."""

        def __call__(self):
            monkeypatch.setattr(sys, 'stderr', stream)

        def read(self):
            """What was shown since, line by line."""
            text = b''
            while select.select([reader], [], [], 0.1)[0]:
                text += os.read(reader, 4096)
            return text.decode('utf-8').split('\r')
    yield Terminal()
    stream.close()
    os.close(reader)


def bar_after(terminal, trials, numbers, seconds_each, **update):
    """What stands on the terminal when epochs of these numbers are done, each of which took so long."""
    terminal()
    clock = [0.]
    with mock.patch('time.monotonic', lambda: clock[0]):       # which the bar keeps
        progress = Progress(trials, quiet=False)
        progress.start(0, trials)
    for done in numbers:
        clock[0] += seconds_each
        progress.update(0, epoch=done, done=done, **update)
    line = terminal.read()[-1]
    progress.close()
    return line


WORDS = dict(position=3, task=3, epochs=2000, total=20000, valid=0.514, test=0.505)


def test_the_bar_and_the_time_left_have_room_on_eighty_columns(terminal):
    last = bar_after(terminal, 5, range(1, 4), 30, **WORDS)
    assert len(last) <= 80
    assert re.match(r'  0%\|.+\| 01:30<\d+:\d\d:\d\d trial 1/5 task 3 epoch 3/2000 valid 0.514 test 0.505$',
                    last)


def test_what_was_resumed_does_not_shorten_the_time_left(terminal):
    """9000 of 10000 epochs were there before; two more took 100 s each, so 998 take 27.7 hours."""
    assert '03:20<27:43:20 ' in bar_after(terminal, 1, (9001, 9002), 100, **dict(WORDS, total=10000))


def test_a_file_gets_a_line_at_the_end_of_each_task_and_no_bar(capsys):
    progress = Progress(1, quiet=False)
    progress.start(0, 1)
    for done in range(1, 5):
        progress.update(0, 0, 0, done, 4, done, 8, 0.5, 0.25)
    progress.close()
    lines = capsys.readouterr()
    assert lines.err == ''
    assert [re.search(r'epoch (\d)/4', line).group(1) for line in lines.out.splitlines()] == ['1', '4']
    assert lines.out.splitlines()[1].endswith('left')


def test_quiet_says_nothing(terminal, capsys):
    terminal()
    progress = Progress(1, quiet=True)
    progress.start(0, 1)
    progress.update(0, 0, 0, 4, 4, 4, 8, 0.5, 0.25)
    progress.note('a line')
    progress.close()
    assert capsys.readouterr().out == '' and terminal.read() == ['']


# ---- durations, while somebody sets the clock ----

def test_lines_go_on_when_the_clock_is_set_back(falling_clock, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, 'SECONDS_BETWEEN_LINES', 0)
    progress = Progress(1, quiet=False)
    progress.start(0, 1)
    for done in range(1, 4):
        progress.update(0, 0, 0, done, 9, done, 9, 0.5, 0.25)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[-1].endswith(', 0:00:00 left')


def test_the_bar_counts_no_time_that_was_set(terminal, monkeypatch):
    terminal()
    wall = [1e9]
    monkeypatch.setattr('tqdm.std.time', lambda: wall[0])
    progress = Progress(1, quiet=False)
    progress.start(0, 1)
    wall[0] += 7200
    progress.update(0, done=1, **dict(WORDS, epoch=1))
    line = terminal.read()[-1]
    progress.close()
    assert re.search(r'\| 00:0\d<', line), line


def test_waiting_ends_when_the_clock_is_set_back(falling_clock, monkeypatch):
    monkeypatch.setattr(cluster_trial, 'POLL_SECONDS', 0.001)
    looks = itertools.count()

    def never():
        assert next(looks) < 1000, 'it waits for ever'
        return False
    assert cluster_trial._wait_until(never, 0.01) is False


def test_only_times_of_day_come_from_the_wall_clock():
    """It can be set back while something is measured; tensorboard.py stamps TensorBoard's events,
    raw_checksums.py asks whether a file changed just now, locks.py tells those who only look how old a
    heartbeat is; who takes a lock measures."""
    paths = [os.path.join(ROOT, 'main.py')] + [path for folder in ('classification', 'utils', 'scripts')
                                               for path in
                                               glob.glob(os.path.join(ROOT, folder, '**', '*.py'),
                                                         recursive=True)]
    users = set()
    for path in paths:
        with open(path, encoding='utf-8') as stream:
            for node in ast.walk(ast.parse(stream.read())):
                if isinstance(node, ast.Attribute) and node.attr == 'time' and getattr(
                        node.value, 'id', '') == 'time' or \
                        isinstance(node, ast.ImportFrom) and node.module == 'time' and 'time' in [
                            name.name for name in node.names]:
                    users.add(os.path.basename(path))
    assert len(paths) > 40 and users == {'tensorboard.py', 'raw_checksums.py', 'locks.py'}
