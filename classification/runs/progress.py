"""How far a run is: a bar on a terminal, a plain line every so often in a file."""
import sys
import threading
import time

from utils.utils import show

SECONDS_BETWEEN_LINES = 60
# What must not be cut off stands first: a terminal of 80 columns has no room for tqdm's own order and a
# description.
BAR = '{percentage:3.0f}%|{bar}| {elapsed}<{remaining} {desc}'


class Progress(object):
    """Progress over all trials, tasks and epochs; trials that train side by side may call it from threads of
    their own.

    Args:
        trials: how many are trained now.
        quiet: say nothing.
    """

    def __init__(self, trials, quiet):
        self.trials, self.quiet, self.lock = trials, quiet, threading.RLock()
        self.began, self.said = time.monotonic(), float('-inf')
        self.titles, self.short_titles = {}, {}             # trial -> what it is called, and on the bar
        # trial -> epochs that it had when it was taken up, and has now
        self.begun_at, self.done = {}, {}
        self.bar = None
        if not quiet and trials and sys.stderr.isatty():
            from tqdm import tqdm
            self.bar = tqdm(desc='starting', bar_format=BAR, dynamic_ncols=True, file=sys.stderr, leave=False)
            self.bar._time = time.monotonic     # its own clock can be set back, and has no other switch
            self.bar.start_t = self.bar.last_print_t = self.began

    def start(self, number, num_runs):
        """A trial begins."""
        with self.lock:
            self.titles[number] = 'trial %d of %d' % (number + 1, num_runs)
            self.short_titles[number] = 'trial %d/%d' % (number + 1, num_runs)

    def update(self, number, position, task, epoch, epochs, done, total, valid, test):
        """An epoch of a trial is done: its `done`-th of `total`. task: None where all are trained
        together."""
        with self.lock:
            self.begun_at.setdefault(number, done - 1)
            self.done[number] = done
            if self.bar is not None:
                self.bar.set_description_str('%s %s epoch %d/%d valid %.3f test %.3f' % (
                    self.short_titles[number], 'all tasks' if task is None else 'task %d' % task, epoch,
                    epochs, valid, test), refresh=False)
                self.bar.total, self.bar.n = self.trials * total, sum(self.done.values())
                self.bar.initial = sum(self.begun_at.values())      # what was resumed has cost no time now
                self.bar.refresh()
            elif not self.quiet and (epoch == epochs or time.monotonic()
                                     - self.said >= SECONDS_BETWEEN_LINES):
                self.said = time.monotonic()
                place = 'all tasks' if task is None else 'task %d (position %d)' % (task, position)
                show('%s, %s, epoch %d/%d: validation accuracy %.3f, test accuracy %.3f%s' % (
                    self.titles[number], place, epoch, epochs, valid, test, self._left(total)))

    def _left(self, total):
        trained = sum(self.done.values()) - sum(self.begun_at.values())
        if trained == 1:            # the first epoch of a run also loads libraries, data and graph
            return ''
        missing = self.trials * total - sum(self.done.values())
        seconds = int((time.monotonic() - self.began) / trained * max(missing, 0))
        return ', %d:%02d:%02d left' % (seconds // 3600, seconds // 60 % 60, seconds % 60)

    def note(self, line):
        """A line for the user, beside the bar."""
        if not self.quiet:
            with self.lock:
                self.clear()
                show(line)

    def clear(self):
        """Makes room for a line of somebody else's."""
        if self.bar is not None:
            self.bar.clear()

    def close(self):
        """The run is over."""
        if self.bar is not None:
            self.bar.close()
