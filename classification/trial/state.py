"""The state of a trial, which is what its checkpoint keeps: each piece is declared once, in PIECES."""
import time
from collections import OrderedDict
from operator import attrgetter
from typing import Callable, NamedTuple

import numpy as np

from classification.results.ragged import packed, unpacked
from classification.results.trial_record import BY_POSITION
from classification.trial import checkpoint
from classification.trial.resources import peak_memory


class History(object):
    """What is recorded while a trial runs; all of it goes into checkpoints.

    Attributes:
        accuracies: [tasks, 3] after each epoch, the untrained network first; NaN where a task is not learned
            or not evaluated.
        best_test: per epoch, test accuracy of the running task at its best validation epoch so far.
        first_epochs: row of `accuracies` of each position's first training epoch.
        accuracy_matrix: per position learned, test accuracies on the different tasks, by data-set
            index.
        seconds: of each position so far.
        training_seconds, evaluation_seconds: what these went into, beside graphs, checkpoints and the like.
        trainable_parameters, kept_parameters, state_bytes: of each position, see Method; NaN: not known.
        final: accuracies [tasks, 3] with the parameters that the last position handed on.
        peak: test accuracy at the best validation epoch while a task was first learned, by task.
        at_chance: whether the network was no better than chance after a task was first learned, by task; a
            task that was learned before checkpoints knew is missing.
        method_rows: dict name -> rows of the method's own histories.
        losses: per epoch, the mean of the losses that its steps minimised; NaN: not known.
        answers: the class given to each test image when a task was evaluated last, by task.
        final_answers: the same with the parameters that the last position handed on.
        confusion: confusion matrices on the test split after each position, by position and task.
        predictions: what `answers` was after each position, by position and task, where that is asked for.
        leep: LEEP scores [splits, positions, tasks]; 0 where there is none.
        without_task_identity: [tasks, 2] after each position, where that was asked for: what
            `task_identity.shares` gives of the learned tasks, NaN of the others.
    """
    # Lists and arrays, with their names in a checkpoint; then dicts.
    PLAIN = OrderedDict([('accuracies', 'rows'), ('best_test', 'best_test'), ('first_epochs', 'changed'),
                         ('seconds', 'seconds'),
                         ('accuracy_matrix', 'matrix'), ('final', 'final'), ('leep', 'leep'),
                         ('losses', 'loss')] + [(name, name) for name in BY_POSITION + (
                             'without_task_identity',)])
    BY_TASK = ('peak', 'at_chance')
    # Of arrays of unequal sizes: how many dimensions they have.
    RAGGED = OrderedDict([('answers', 1), ('final_answers', 1), ('confusion', 2),
                          ('predictions', 1)])
    METHOD = 'extra/'           # begins the names of the method's own histories there

    def __init__(self, num_tasks, positions):
        self.num_tasks = num_tasks
        self.leep = np.zeros((3, positions, num_tasks))
        self.accuracies, self.best_test, self.first_epochs = [], [], []
        self.accuracy_matrix, self.seconds = [], []
        self.final = np.full((num_tasks, 3), np.nan)
        self.peak, self.at_chance, self.method_rows = {}, {}, OrderedDict()
        self.losses, self.answers, self.final_answers, self.confusion = [], {}, {}, {}
        self.predictions, self.without_task_identity = {}, []
        for name in BY_POSITION:
            setattr(self, name, [])

    def arrays(self):
        """dict name -> array, for a checkpoint."""
        arrays = {stored: np.array(getattr(self, name)) for name, stored in self.PLAIN.items()}
        arrays[self.PLAIN['accuracies']] = np.reshape(self.accuracies, (-1, self.num_tasks, 3))
        for name in self.BY_TASK:
            values = getattr(self, name)
            arrays[name + '_tasks'] = np.array(sorted(values), int)
            arrays[name] = np.array([values[task] for task in sorted(values)])
        for name in self.RAGGED:
            arrays[name], arrays[name + '_parts'] = packed(getattr(self, name))
        arrays.update({self.METHOD + name: np.array(rows) for name, rows in self.method_rows.items()})
        return arrays

    @classmethod
    def from_arrays(cls, num_tasks, arrays):
        """The history that `arrays` gave; what one of before lacks is as in a new history."""
        history = cls(num_tasks, 0)
        for name, stored in cls.PLAIN.items():
            if stored in arrays:
                value = arrays[stored]
                if isinstance(getattr(history, name), list):
                    value = list(value) if value.ndim > 1 else value.tolist()
                setattr(history, name, value)
        for name in cls.BY_TASK:
            values = arrays.get(name, np.zeros(0))
            setattr(history, name, dict(zip(map(int, arrays.get(name + '_tasks', ())), values.tolist())))
        for name, dimensions in cls.RAGGED.items():
            if name in arrays:
                setattr(history, name, dict(unpacked(arrays[name], arrays[name + '_parts'], dimensions)))
        epochs = max(len(history.accuracies) - 1, 0)
        for name, length in [('losses', epochs)] + [(name, len(history.seconds)) for name in BY_POSITION]:
            known = getattr(history, name)
            setattr(history, name, [np.nan] * (length - len(known)) + known)
        for name in sorted(arrays):
            if name.startswith(cls.METHOD):
                history.method_rows[name[len(cls.METHOD):]] = list(arrays[name])
        return history

    def extend(self, num_tasks, positions, before, tasks):
        """Takes the shapes of a longer experiment; what is not known there yet is as in a new history.

        Args:
            num_tasks, positions: of the longer one.
            before, tasks: the distinct tasks of this one and of the longer one, as its rows have them.
        """
        def padded(row):
            return np.concatenate([row, np.full((num_tasks - len(row),) + row.shape[1:], np.nan)])

        columns = [tasks.index(task) for task in before]
        for place, known in enumerate(self.accuracy_matrix):
            self.accuracy_matrix[place] = np.full(len(tasks), np.nan)
            self.accuracy_matrix[place][columns] = known
        self.accuracies, self.final = list(map(padded, self.accuracies)), padded(self.final)
        self.without_task_identity = list(map(padded, self.without_task_identity))
        known, self.leep = self.leep, np.zeros((len(self.leep), positions, num_tasks))
        self.leep[:, :known.shape[1], :known.shape[2]] = known
        self.num_tasks = num_tasks

    def start_task(self):
        """The next rows are of another position."""
        self.first_epochs.append(max(len(self.accuracies), 1))
        self.seconds.append(0.)
        for name in BY_POSITION:
            getattr(self, name).append(0.)

    def add(self, name, value):
        """Adds to one of BY_POSITION of the present position."""
        getattr(self, name)[-1] += value

    def trained(self, size):
        """A phase of the present position trains so many values; the largest counts."""
        self.trainable_parameters[-1] = float(np.maximum(self.trainable_parameters[-1], size))

    def add_method_rows(self, rows):
        """Adds one row to each of the method's own histories."""
        for name, row in rows.items():
            self.method_rows.setdefault(name, []).append(row)


class Piece(NamedTuple):
    """One piece of the state, under its name in a checkpoint."""
    # gives what a trial begins with; None: its owner sees to that
    start: Callable = None
    arrays: bool = False                            # a dict name -> array; otherwise JSON-able
    at: str = ''                                    # the attribute that holds it, where that has another name
    stored: Callable = lambda value: value          # value -> what a checkpoint holds
    value: Callable = lambda state, stored: stored  # TrialState, what a checkpoint holds -> value


PIECES = OrderedDict([
    ('position', Piece(int)),                       # in the order of tasks
    ('phase', Piece(int)),                          # of learning the task
    ('epoch', Piece(int)),                          # of the phase
    ('global_epoch', Piece(int)),                   # of the learning rate
    ('trained', Piece(int)),                        # epochs, those that were not kept among them
    ('elapsed', Piece(float)),                      # seconds
    ('state', Piece(at='method.state')),
    ('scores', Piece(list)),                        # of the phases that are alternatives to each other
    # None between tasks
    ('progress', Piece(lambda: None, stored=lambda progress: progress and progress.state(),
                       value=lambda state, stored: stored and state.new_progress(stored))),
    ('peak_memory', Piece(int)),                    # bytes, of all processes that trained
    ('origins', Piece(list)),                       # one for each stretch of training; see origin.py
    ('shares', Piece(list)),                        # the different TrialContext.share of all that trained
    ('store', Piece(dict, True)),                   # parameters as the last phase left them
    ('before', Piece(dict, True)),                  # the store when the current task began
    ('variables', Piece(dict, True)),               # of the open graph, where a phase was interrupted
    # variables at the best validation epoch, with early stopping
    ('best', Piece(dict, True)),
    ('method', Piece(arrays=True, at='method.arrays')),
    ('winner', Piece(dict, True)),                  # what the best alternative so far left
    ('history', Piece(arrays=True, stored=lambda history: history.arrays(),
                      value=lambda state, stored: History.from_arrays(state.history.num_tasks, stored))),
])


class TrialState(object):
    """Everything that a trial needs to go on; its attributes are PIECES.

    Args:
        experiment: Experiment.
        method: Method, which owns the pieces `state` and `arrays`.
        new_progress: function that makes a TaskProgress, of the state of one or from the start.
        path: of the checkpoint.
    """

    def __init__(self, experiment, method, new_progress, path):
        self.method, self.new_progress, self.path = method, new_progress, path
        self.fingerprint, self.saved = experiment.fingerprint(), time.monotonic()
        self.history = History(len(experiment.class_counts), len(experiment.task_order))
        for name, piece in PIECES.items():
            if piece.start:
                setattr(self, name, piece.start())

    def next_epoch(self):
        """An epoch was trained."""
        self.epoch, self.global_epoch, self.trained = self.epoch + 1, self.global_epoch + 1, self.trained + 1

    def next_phase(self):
        """The phase has ended."""
        self.phase, self.epoch, self.best = self.phase + 1, 0, {}

    def next_position(self):
        """The task is learned."""
        self.position, self.phase, self.before, self.progress = self.position + 1, 0, {}, None

    def save(self, graph=None):
        """Writes a checkpoint, inside a phase with the variables of its graph."""
        self.saved, before = time.monotonic(), self.saved
        self.elapsed += self.saved - before
        if self.history.seconds:
            self.history.seconds[-1] += self.saved - before
        self.variables = graph.all_values() if graph else {}
        self.peak_memory = max(self.peak_memory, peak_memory())
        stored = {name: piece.stored(attrgetter(piece.at or name)(self)) for name, piece in PIECES.items()}
        meta = {name: stored[name] for name, piece in PIECES.items() if not piece.arrays}
        meta.update(inside=bool(self.variables), fingerprint=self.fingerprint)
        checkpoint.save(self.path, meta, {name: stored[name] for name, piece in PIECES.items()
                                          if piece.arrays})
        self.variables = {}

    def load(self, say):
        """Takes up what `save` wrote; a piece that it lacks stays as it is.
        Returns whether there is a checkpoint."""
        loaded = checkpoint.load(self.path, say)
        if loaded is None:
            return False
        meta, groups = loaded
        assert meta['fingerprint'] == self.fingerprint
        for name, piece in PIECES.items():
            stored = groups if piece.arrays else meta
            if name in stored:
                holder, _, attribute = (piece.at or name).rpartition('.')
                setattr(getattr(self, holder) if holder else self, attribute, piece.value(self, stored[name]))
        return True


# ---- the end state of a shorter experiment ----

def continue_from(path, shorter, longer, new_path, say):
    """Writes the checkpoint with which a trial of a longer experiment goes on where the shorter one ended.

    Args:
        path: of the checkpoint that the shorter one's trial left after its last task.
        shorter, longer: Experiment; the tasks of the longer one begin with those of the shorter one.
        new_path: of the checkpoint to write.
        say: function of one line, told where a checkpoint is damaged.
    Returns:
        whether there is an end state.
    """
    loaded = checkpoint.load(path, say)
    if loaded is None or loaded[0]['fingerprint'] != shorter.fingerprint() or (
            loaded[0]['position'] != len(shorter.task_order)):
        return False
    meta, groups = loaded
    history = History.from_arrays(len(shorter.class_counts), groups['history'])
    history.extend(len(longer.class_counts), len(longer.task_order), shorter.tasks, longer.tasks)
    groups['history'] = history.arrays()
    checkpoint.save(new_path, dict(meta, fingerprint=longer.fingerprint()), groups)
    return True
