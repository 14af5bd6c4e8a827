"""state.json: where a trial is and how it ended, left in its folder for whoever looks at the batch.

It tells what the record, the checkpoint and the log do not tell cheaply. No number depends on it, and a trial
never fails for want of it. It does not tell whether the trial's process lives: for that the token of the lock
on the trial's folder (utils/locks.py) beats, here and on a cluster.
"""
import contextlib
import json
import os
import platform
import time

from utils.utils import printable_line, read_dict, write_atomically

STATE = 'state.json'
VERSION = 1                  # raised where older code would misread one, not for an added field
WRITE_SECONDS = 10           # at least, between two writes while it trains
RUNNING, FINISHED, INTERRUPTED, FAILED = 'running', 'finished', 'interrupted', 'failed'
NUMBERS = ('pid', 'position', 'task', 'epoch', 'epochs', 'done', 'total', 'valid', 'test', 'epoch_seconds',
           'training_seconds')
ACCURACIES = ('valid', 'test')           # not a number where nothing was evaluated
TEXTS = ('state', 'host', 'reason')
LARGEST = 1e15               # of a number in a file that is not damaged


class StateFile(object):
    """The state of a trial that runs in this process and holds the lock on its folder.

    Args:
        folder: the trial's.
        still_mine: function -> whether the lock is still held; without it nothing is written.
    """

    def __init__(self, folder, still_mine=lambda: True):
        self.folder, self.still_mine = folder, still_mine
        self.facts = {'version': VERSION, 'state': RUNNING, 'host': platform.node(), 'pid': os.getpid()}
        self.first = None           # (when the first epoch of this process ended, how many were done then)
        self._write()
        self.written = float('-inf')       # so that the first epoch is seen at once

    def epoch(self, **place):
        """An epoch is done; `place` is what Progress.update gets."""
        now = time.monotonic()
        self.facts.update(place)
        if self.first is None:      # the first one also loads libraries, data and graph
            self.first = now, place['done']
        elif place['done'] > self.first[1]:
            self.facts['epoch_seconds'] = (now - self.first[0]) / (place['done'] - self.first[1])
        if now - self.written >= WRITE_SECONDS:
            self._write()

    def finish(self, training_seconds):
        """The trial is trained."""
        self.facts.update(state=FINISHED, training_seconds=float(training_seconds))
        self._write()

    def end_by(self, reason):
        """The trial ends unfinished: it failed for a reason, or was interrupted (None)."""
        self.facts.update(_ended(reason))
        self._write()

    def _write(self):
        if self.still_mine():
            self.written = time.monotonic()
            _write(self.folder, self.facts, alone=True)


def end_by(folder, reason):
    """As StateFile.end_by, of a trial whose process could not say it; where it was stays."""
    facts = {name: value for name, value in read(folder).items() if name != 'reason'}
    _write(folder, dict(facts, version=VERSION, **_ended(reason)))


def _ended(reason):
    return {'state': INTERRUPTED} if reason is None else {'state': FAILED, 'reason': printable_line(reason)}


def read(folder):
    """What a trial's state.json says, without what is no value of its kind; {} where there is none."""
    facts = read_dict(os.path.join(folder, STATE))
    return {name: value for name, value in facts.items()
            if name in TEXTS and isinstance(value, str)
            or name in NUMBERS and isinstance(value, (int, float)) and not isinstance(value, bool)
            and (abs(value) < LARGEST or name in ACCURACIES and value != value)}


def _write(folder, facts, alone=False):
    with contextlib.suppress(OSError):      # a full or read-only disk: the trial goes on
        write_atomically(os.path.join(folder, STATE), json.dumps(facts), alone)
