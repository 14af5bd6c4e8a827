"""The histories of a trial: what is recorded while it runs."""
from collections import OrderedDict

import numpy as np


class History(object):
    """What is recorded while a trial runs; all of it goes into checkpoints.

    Attributes:
        rows: accuracies [tasks, 3] after each epoch, the untrained network first; NaN where a task is not learned or
            not evaluated.
        best_test: per row, test accuracy of the running task at its best validation epoch so far.
        changed: row of each position's first training epoch.
        matrix: per position learned, test accuracies on the distinct tasks by first appearance.
        final: accuracies [tasks, 3] with the parameters that the last position handed on.
        peak: test accuracy at the best validation epoch while a task was first learned, by task.
        at_chance: whether the network was no better than chance after a task was first learned, by task; a task
            that was learned before checkpoints knew is missing.
        extra: dict name -> rows of the method's own histories.
        leep: LEEP scores [parts, positions, tasks]; 0 where there is none.
    """
    PLAIN = ('rows', 'best_test', 'changed', 'seconds', 'matrix', 'final', 'leep')      # lists and arrays
    BY_TASK = ('peak', 'at_chance')                                                      # dicts

    def __init__(self, num_tasks, positions):
        self.num_tasks = num_tasks
        self.leep = np.zeros((3, positions, num_tasks))
        self.rows, self.best_test, self.changed, self.matrix, self.seconds = [], [], [], [], []
        self.final = np.full((num_tasks, 3), np.nan)
        self.peak, self.at_chance, self.extra = {}, {}, OrderedDict()

    def arrays(self):
        """dict name -> array, for a checkpoint."""
        arrays = {name: np.array(getattr(self, name)) for name in self.PLAIN}
        arrays['rows'] = np.reshape(self.rows, (-1, self.num_tasks, 3))
        for name in self.BY_TASK:
            values = getattr(self, name)
            arrays[name + '_tasks'] = np.array(sorted(values), int)
            arrays[name] = np.array([values[task] for task in sorted(values)])
        arrays.update({'extra/' + name: np.array(rows) for name, rows in self.extra.items()})
        return arrays

    @classmethod
    def from_arrays(cls, num_tasks, arrays):
        """The history that `arrays` gave; what one of before lacks is as in a new history."""
        history = cls(num_tasks, 0)
        for name in cls.PLAIN:
            if name in arrays:
                value = arrays[name]
                if isinstance(getattr(history, name), list):
                    value = list(value) if value.ndim > 1 else value.tolist()
                setattr(history, name, value)
        for name in cls.BY_TASK:
            values = arrays.get(name, np.zeros(0))
            setattr(history, name, dict(zip(map(int, arrays.get(name + '_tasks', ())), values.tolist())))
        for name in sorted(arrays):
            if name.startswith('extra/'):
                history.extra[name[len('extra/'):]] = list(arrays[name])
        return history

    def start_task(self):
        """The next rows are of another position."""
        self.changed.append(max(len(self.rows), 1))
        self.seconds.append(0.)

    def add_extra(self, rows):
        """Adds one row to each of the method's own histories."""
        for name, row in rows.items():
            self.extra.setdefault(name, []).append(row)
