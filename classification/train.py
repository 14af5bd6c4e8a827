"""One trial: for each task, for each epoch: train, evaluate, record, checkpoint. Knows no data set and no method."""
import json
import os
import time
from collections import OrderedDict
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from classification.analysis import leep, trial_analyses
from classification.model.method import Setting
from classification.model.registry import make_method
from classification.results import metrics, origin
from classification.results.trial_record import TrialRecord
from classification.trial import checkpoint
from classification.trial.task_graph import TaskGraph
from classification.trial.tensorboard import Scalars
from utils.lazy_tensorflow import tf
from utils.utils import random_state, readable, stateless_seed

TRAIN, VALID, TEST = 0, 1, 2      # places of the parts in a row of accuracies


class Interrupted(Exception):
    """The trial was asked to stop; a checkpoint has been written."""


class TrialFailed(Exception):
    """The trial cannot go on; its text is one line."""


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

    def add_extra(self, rows):
        """Adds one row to each of the method's own histories."""
        for name, row in rows.items():
            self.extra.setdefault(name, []).append(row)


class TaskProgress(object):
    """Validation bookkeeping of the task being learned."""

    def __init__(self, training, early_stopping, state=(-1., 0., 0)):
        self.training, self.early_stopping = training, early_stopping
        self.best_valid, self.best_test, self.improved_at = state

    def add(self, epoch, valid, test):
        """Notes the accuracies after `epoch` epochs of this task; returns whether this is the best epoch so far."""
        if valid <= self.best_valid:
            return False
        if valid > self.training.improvement * self.best_valid:
            self.improved_at = epoch
        self.best_valid, self.best_test = valid, test
        return True

    def exhausted(self, epoch):
        """Whether early stopping ends the task: no real improvement within the patience, which grows with the best."""
        patience = max(self.early_stopping, self.training.patience_multiplier * self.improved_at)
        return bool(self.early_stopping) and epoch - self.improved_at >= patience

    def state(self):
        """JSON-able, for a checkpoint."""
        return self.best_valid, self.best_test, self.improved_at


class PublishedPatience(TaskProgress):
    """The published rule: train until the patience, or the multiplier times the epoch of the last real improvement."""

    def exhausted(self, epoch):
        return epoch >= max(self.training.patience, self.training.patience_multiplier * self.improved_at)


class Surroundings(NamedTuple):
    """What a trial runs in; none of it changes a number."""
    folder: str                                    # where its checkpoint is
    config: Any                                    # tf.ConfigProto
    minutes: float = 5.                            # between checkpoints inside a task; 0: every epoch
    say: Callable = lambda line: None              # one line for the log
    tell: Callable = lambda **what: None           # what the progress display should know
    stopping: Callable = lambda: False             # whether to stop at the next epoch boundary
    graph_folder: Optional[str] = None             # where to write graphs for TensorBoard
    parameter_folder: Optional[str] = None         # where to write parameter files
    evaluation_factor: int = 1                     # how many evaluation batches of a CPU fit this device
    scalar_folder: Optional[str] = None            # where to write accuracies for TensorBoard
    origin: Optional[dict] = None                  # what makes the numbers: data, code, libraries, machine; see origin.py
    check_lock: Callable = lambda: None            # raises an error if another process has taken the trial over


class Trial(object):
    """One trial of a lifelong experiment.

    Args:
        experiment: Experiment.
        number: 0-based; also the data group.
        tasks: list of gen_data.Task.
        surroundings: Surroundings.
        given: dict name -> array, what variables of these names start from instead of being drawn.
    """
    graph_type = TaskGraph
    # What a checkpoint keeps beside parameters and histories; one that lacks some of it leaves that as it is at the start.
    KEPT = ('position', 'phase', 'epoch', 'global_epoch', 'trained', 'elapsed')

    def __init__(self, experiment, number, tasks, surroundings, given=None):
        self.experiment, self.number, self.given = experiment, number, given or {}
        folder, self.config, self.minutes, self.say, self.tell, self.stopping = surroundings[:6]
        self.check_lock = surroundings.check_lock
        self.graph_folder, self.parameter_folder = surroundings.graph_folder, surroundings.parameter_folder
        self.scalar_folder, self.scalars = surroundings.scalar_folder, None
        self.origins = origin.continued([], surroundings.origin or origin.UNKNOWN)
        self.evaluation_batch = experiment.evaluation_batch * surroundings.evaluation_factor
        self.tasks = {task.index: task for task in trial_analyses.tasks_of(experiment, number, tasks)}
        self.method = make_method(experiment.model_type, Setting(
            experiment.net, experiment.class_counts, experiment.model.mechanism,
            dict(experiment.options, pattern=experiment.pattern), experiment.keep, experiment.task_order))
        self.method.say = lambda line: self.say('trial %d: %s' % (number, line))
        self.method.note = self._note
        self.history = History(len(experiment.class_counts), len(experiment.task_order))
        self.store = {}                        # parameters as the last phase left them
        self.position = self.phase = self.epoch = 0
        self.global_epoch = 0                  # of the learning rate
        self.trained = 0                       # epochs, those that were not kept among them
        self.restored = None                   # variables of an interrupted phase
        self.progress, self.best_values = None, {}
        self.policy = self.method.policy(self)
        self.before = {}                       # the store when the current task began
        self.elapsed, self.began, self.last_checkpoint = 0., time.monotonic(), time.monotonic()
        self.path = os.path.join(folder, 'checkpoint')

    def _note(self, line):
        """One line for the log and the screen."""
        self.say('trial %d: %s' % (self.number, line))
        self.tell(note='trial %d: %s' % (self.number, line), logged=True)

    def _draw(self, name, task):
        return random_state(self.experiment.seed, self.number, task, purpose=name)

    # ---- the loop ----

    def run(self):
        """Trains on every task of the order, from the checkpoint if there is one.

        Returns:
            TrialRecord.
        Raises:
            Interrupted, TrialFailed.
        """
        self._restore()
        if self.scalar_folder:
            self.scalars = Scalars(self.scalar_folder)
        positions = self._positions()
        while self.position < len(positions):
            self._learn_task(positions[self.position])
            self.check_lock()
            if self.parameter_folder:       # before the checkpoint: a kill between them costs an epoch and no file
                trial_analyses.save_parameters(self, positions[self.position], self._tasks_at(self.position),
                                               last=self.position + 1 == len(positions))
            self.position, self.phase, self.before, self.progress = self.position + 1, 0, {}, None
            self._checkpoint({})
        if self.scalars:
            self._write_scalars()
            self.scalars.close()
        return self._record()

    def _write_scalars(self):
        self.scalars.write(self.history.rows, self.history.best_test)

    def _positions(self):
        """The task that is learned at each position."""
        return self.experiment.task_order

    def _tasks_at(self, position):
        """The tasks that are evaluated at a position."""
        return list(OrderedDict.fromkeys(self.experiment.task_order[:position + 1]))

    def _learned_now(self, task):
        """The tasks that are learned when this one's last phase ends."""
        return [task]

    def new_progress(self, *state):
        kind = PublishedPatience if trial_analyses.trains_by_published_patience(self.experiment) else TaskProgress
        return kind(self.experiment.training, self.experiment.early_stopping, *state)

    def _learn_task(self, task):
        if len(self.history.changed) == self.position:
            self.before = dict(self.store)
            self.store = self.method.start_task(task, self.store, lambda name: self._draw(name, task))
            self.history.changed.append(max(len(self.history.rows), 1))
            self.history.seconds.append(0.)
        last = self.phase > 0 and self.phase == len(self._phases(task))      # stopped after the last phase
        while not last:
            self.progress = self.progress or self.new_progress()
            epochs = self._phases(task)[self.phase]
            with self._graph(task) as graph:
                self._learn_phase(graph, task, epochs)
                last = self._end_phase(graph, task)
            self.phase, self.epoch, self.best_values = self.phase + 1, 0, {}
            if not last or not self.policy.final:
                self._checkpoint({})
        self.policy.end_task(task)

    def _phases(self, task):
        return self.method.phases(task, self.experiment.training.epochs)

    def _end_phase(self, graph, task):
        """Lets the policy hand the parameters on; returns whether it was the task's last phase."""
        if self.experiment.early_stopping and self.best_values:
            graph.restore_all(self.best_values)
        values = dict(self.store)
        values.update(graph.values())
        if not all(np.isfinite(value).all() for value in values.values()):
            raise TrialFailed('a parameter is not finite after task %d' % task)
        last = self.phase + 1 == len(self._phases(task))
        self.policy.end_phase(task, values, graph, last)
        return last

    # ---- what a policy (model/phases.py) uses ----

    def hand_on(self, task, values, graph, last):
        """The next phase begins with these values; after the last one the task is learned."""
        self.store = self.method.end_phase(task, self.phase, self.before, values, graph)
        if last:
            for learned in self._learned_now(task):
                self.store = self.method.end_task(learned, self.before, self.store, graph)
            changed = self.epoch == 0 or any(      # a phase without epochs has no accuracies yet
                not np.array_equal(value, values[name]) for name, value in self.store.items())
            graph.set_values(self.store)
            self.task_learned(task, self.final_row(graph, changed))

    def save_alternative(self, task, values):
        """Writes the parameter file of a phase of several, if parameter files were asked for."""
        if self.parameter_folder and len(self._phases(task)) > 1:
            self.check_lock()
            trial_analyses.save_alternative(self, task, self._tasks_at(self.position), values)

    def _graph(self, task):
        learned = [self.tasks[index] for index in self._tasks_at(self.position)]
        graph = self.graph_type(self.method, dict(self.given, **self.store), self.tasks[task], learned,
                                lambda name: self._draw(name, task), self.experiment.training.batch_size,
                                self.evaluation_batch, self.config, self.phase,
                                'data_augment' in self.experiment.analyses)
        if self.graph_folder and self.epoch == 0:
            folder = os.path.join(self.graph_folder, 'task%d' % self.position)
            folder = os.path.join(folder, 'phase%d' % self.phase) if self.phase else folder
            tf.summary.FileWriter(readable(folder), graph.graph).close()      # it takes paths in UTF-8, in any language
        if self.restored is not None:
            graph.restore_all(self.restored)
            self.restored = None
        else:
            self.method.start_phase(graph, task, self.phase)
        return graph

    def _learn_phase(self, graph, task, epochs):
        if 'leep' in self.experiment.analyses and (self.phase, self.epoch) == (0, 0):
            earlier = list(OrderedDict.fromkeys(self.experiment.task_order[:self.position]))
            self.history.leep[:, self.position, earlier] = leep.scores(graph, earlier)
        if not self.history.rows:
            self._evaluate(graph, task, epochs)
        while self.epoch < epochs and not self.progress.exhausted(self.epoch):
            self.method.start_epoch(graph, task)
            self._train_epoch(graph, task)
            self.epoch, self.global_epoch = self.epoch + 1, self.global_epoch + 1
            self.history.add_extra(self.method.end_epoch(graph, task, self.epoch == epochs))
            self._evaluate(graph, task, epochs)
            self.trained += 1
            if self.scalars and self.policy.final:
                self._write_scalars()
            self.tell(position=self.position, epoch=self.epoch, epochs=epochs, done=self.trained,
                      total=self.method.planned_epochs(self.experiment.task_order, self.experiment.training.epochs),
                      **self._shown(task))
            if self.stopping():
                self._checkpoint(graph.all_values())
                raise Interrupted()
            if time.monotonic() - self.last_checkpoint >= 60 * self.minutes and self.epoch < epochs:
                self._checkpoint(graph.all_values())

    def _train_epoch(self, graph, task):
        experiment, data = self.experiment, self.tasks[task]
        place = dict(seed=experiment.seed, trial=self.number, task=task, epoch=self.global_epoch)
        rate = experiment.training.lr / (1. + self.global_epoch * experiment.training.lr_decay)
        batch, augments = experiment.training.batch_size, 'data_augment' in experiment.analyses
        steps = data.train.size // batch       # an incomplete last batch is dropped
        orders = {'training': random_state(purpose='batches', **place).permutation(data.train.size)}
        if self.method.validation_batches:
            orders['validation'] = random_state(purpose='validation batches', **place).permutation(data.valid.size)
        for step in range(steps):
            rows = {name: np.take(order, np.arange(step * batch, (step + 1) * batch), mode='wrap')
                    for name, order in orders.items()}
            augmentation = random_state(step=step, purpose='augmentation', **place) if augments else None
            loss = graph.step(rows, rate, stateless_seed(step=step, purpose='dropout', **place),
                              fetch_loss=step == steps - 1, augmentation=augmentation)
        if not np.isfinite(loss):
            raise TrialFailed('the loss of task %d became %s in epoch %d' % (task, loss, self.epoch + 1))

    def _shown(self, task):
        """For the progress display: the task, its validation and test accuracy."""
        return {'task': task, 'valid': self.history.rows[-1][task, VALID], 'test': self.history.rows[-1][task, TEST]}

    def _evaluate(self, graph, task, epochs):
        """Adds one row: the accuracies of every task so far; those that cannot have changed are carried forward.

        Those of earlier tasks are NaN where `eval_interval` passes an epoch over, never at the end of a phase.
        """
        row = np.full((self.history.num_tasks, 3), np.nan)
        unchanged = self.history.rows[-1] if len(self.history.rows) > self.history.changed[-1] else self.history.final
        row[task] = graph.accuracy(self.tasks[task])
        if self.progress.add(self.epoch, row[task, VALID], row[task, TEST]) and self.experiment.early_stopping:
            self.best_values = graph.all_values()      # a prior belongs to the parameters that it was found with
        due = (self.epoch % self.experiment.eval_interval == 0 or self.epoch >= epochs
               or self.progress.exhausted(self.epoch))
        for learned in graph.learned:
            if learned.index == task:
                continue
            if not self.method.may_change(learned.index, self.phase):
                row[learned.index] = unchanged[learned.index]
            elif due:
                row[learned.index] = graph.accuracy(learned)
        self.history.rows.append(row)
        self.history.best_test.append(self.progress.best_test)

    def final_row(self, graph, changed):
        """Accuracies with the parameters that are handed on, which a roll-back or early stopping may have changed."""
        if not changed and not self.experiment.early_stopping:
            return self.history.rows[-1]
        row = np.full_like(self.history.rows[-1], np.nan)
        for learned in graph.learned:
            row[learned.index] = graph.accuracy(learned)
        return row

    def task_learned(self, task, final):
        """Adds the row of the accuracy matrix."""
        self.history.final = final
        self.history.matrix.append(np.array([final[index, TEST] for index in self.experiment.tasks]))
        self.history.peak.setdefault(task, self.progress.best_test)
        self._say_learned(task, final)
        before = self._tasks_at(self.position - 1) if self.position else []
        for learned in self._learned_now(task):
            at_chance = self._ends_at_chance(learned, final[learned, TRAIN])
            if learned not in before:
                self.history.at_chance[learned] = at_chance

    def _ends_at_chance(self, task, accuracy):
        """Whether this accuracy on a task's training images is no better than chance; tells the user if so."""
        class_counts = np.bincount(self.tasks[task].train.labels)
        right = int(round(accuracy * class_counts.sum()))
        at_chance = metrics.at_chance(right, class_counts)
        if at_chance:
            position = ' (position %d)' % self.position if self.experiment.lifelong else ''
            self._note('task %d%s ends at chance: %d of %d training images are right; always answering the most frequent '
                       'class gives %d' % (task, position, right, class_counts.sum(), class_counts.max()))
        return at_chance

    def _say_learned(self, task, final):
        self.say('trial %d: learned task %d (position %d): test accuracy %.4f, at the best validation epoch %.4f'
                 % (self.number, task, self.position, final[task, TEST], self.progress.best_test))

    # ---- checkpoints ----

    def _checkpoint(self, variables):
        self.check_lock()
        self._count_time()
        meta = {name: getattr(self, name) for name in self.KEPT}
        meta.update({'state': self.method.state, 'scores': self.policy.scores, 'inside': bool(variables),
                     'progress': self.progress.state() if self.progress else None, 'origins': self.origins,
                     'fingerprint': self.experiment.fingerprint()})
        checkpoint.save(self.path, meta, {'store': self.store, 'before': self.before, 'variables': variables,
                                          'best': self.best_values, 'method': self.method.arrays, 'winner': self.policy.winner,
                                          'history': self.history.arrays()})
        self.last_checkpoint = time.monotonic()

    def _restore(self):
        loaded = checkpoint.load(self.path, self._note)
        if loaded is None:
            return
        meta, groups = loaded
        assert meta['fingerprint'] == self.experiment.fingerprint()
        for name in self.KEPT:
            setattr(self, name, meta.get(name, getattr(self, name)))
        self.method.state = meta['state']
        self.store, self.before = groups.get('store', {}), groups.get('before', {})
        self.best_values, self.method.arrays = groups.get('best', {}), groups.get('method', {})
        self.policy.restore(meta.get('scores', []), groups.get('winner', {}))
        self.history = History.from_arrays(self.history.num_tasks, groups['history'])
        if meta['inside']:
            self.restored = groups['variables']
        if meta['progress'] is not None:
            self.progress = self.new_progress(meta['progress'])
        self._go_on_from(meta.get('origins', [origin.UNKNOWN]))
        self.say('trial %d: resumed at position %d, epoch %d of the task' % (self.number, self.position, self.epoch))

    def _go_on_from(self, stretches):
        """Says where what was trained before has another origin than what is trained now, and keeps both."""
        now, self.origins = self.origins[-1], origin.continued(stretches, self.origins[-1])
        difference = origin.mixture({self.number: self.origins})
        if difference and now:
            self.tell(note='trial %d goes on from a checkpoint of another origin (%s); the reports will say so; --restart %d '
                           'trains this trial from the start' % (self.number, difference, self.number))

    def _count_time(self):
        now = time.monotonic()
        if self.history.seconds:
            self.history.seconds[-1] += now - self.began
        self.elapsed, self.began = self.elapsed + now - self.began, now

    def _record(self):
        history, tasks = self.history, self.experiment.tasks
        extra = OrderedDict((name, np.array(rows)) for name, rows in history.extra.items())
        extra.update(self.method.extra(self.experiment.task_order))
        extra.update(trial_analyses.fields(self))
        at_chance = [history.at_chance.get(task) for task in tasks]
        return TrialRecord(trial=self.number, accuracy=history.arrays()['rows'], best_test=np.array(history.best_test),
                           task_changed_epoch=np.array(history.changed), accuracy_matrix=np.array(history.matrix),
                           peak=np.array([history.peak[task] for task in tasks]), time_per_task=np.array(history.seconds),
                           training_time=self.elapsed, num_parameters=self.method.num_parameters(self.store), extra=extra,
                           at_chance=None if None in at_chance else np.array(at_chance),
                           origin=json.dumps(self.origins))
