"""How far a run is: a bar on a terminal, a plain line every so often in a file."""
import sys
import time

SECONDS_BETWEEN_LINES = 60


class Progress(object):
    """Progress over all trials, tasks and epochs.

    Args:
        trials: how many are trained now.
        quiet: say nothing.
    """

    def __init__(self, trials, quiet):
        self.trials, self.quiet = trials, quiet
        self.began, self.said = time.time(), 0.
        self.earlier = -1            # trials finished in this run
        self.begun_at = None         # epochs that the running trial had when it was taken up
        self.epochs_now = 0          # epochs trained in this run before the running trial
        self.done, self.title, self.bar = 0, '', None
        if not quiet and trials and sys.stderr.isatty():
            from tqdm import tqdm
            self.bar = tqdm(unit='epoch', dynamic_ncols=True, file=sys.stderr, leave=False)

    def start(self, number, num_runs):
        """A trial begins."""
        self.title = 'trial %d of %d' % (number + 1, num_runs)
        self.epochs_now += self.done - (self.begun_at or 0)
        self.earlier, self.begun_at, self.done = self.earlier + 1, None, 0

    def update(self, position, task, epoch, epochs, done, total, valid, test):
        """An epoch of the running trial is done: number `done` of `total`. task: None where all are trained together."""
        if self.begun_at is None:
            self.begun_at = done - 1
        self.done = done
        place = 'all tasks' if task is None else 'task %d (position %d)' % (task, position)
        text = '%s, %s, epoch %d/%d: validation accuracy %.3f, test accuracy %.3f' % (
            self.title, place, epoch, epochs, valid, test)
        if self.bar is not None:
            self.bar.set_description_str(text, refresh=False)
            self.bar.total, self.bar.n = self.trials * total, self.earlier * total + done
            self.bar.refresh()
        elif not self.quiet and (epoch == epochs or time.time() - self.said >= SECONDS_BETWEEN_LINES):
            self.said = time.time()
            print(text + self._left(total))
            sys.stdout.flush()

    def _left(self, total):
        trained = self.epochs_now + self.done - self.begun_at
        if trained == 1:            # the first epoch of a run also loads libraries, data and graph
            return ''
        missing = (self.trials - self.earlier) * total - self.done
        seconds = int((time.time() - self.began) / trained * max(missing, 0))
        return ', %d:%02d:%02d left' % (seconds // 3600, seconds // 60 % 60, seconds % 60)

    def note(self, line):
        """A line for the user, beside the bar."""
        if not self.quiet:
            self.clear()
            print(line)
            sys.stdout.flush()

    def clear(self):
        """Makes room for a line of somebody else's."""
        if self.bar is not None:
            self.bar.clear()

    def close(self):
        """The run is over."""
        if self.bar is not None:
            self.bar.close()
