"""One trial: for each task, for each epoch: train, evaluate, record, checkpoint. Knows no data set and no
method."""
import contextlib
import os
import time
from collections import OrderedDict

import numpy as np

from classification.analysis import leep, trial_analyses
from classification.model.registry import method_of
from classification.results import origin
from classification.trial import checkpoint
from classification.trial.evaluation import EarlierNetworks
from classification.trial.recorder import Recorder
from classification.trial.resources import trained_size
from classification.trial.schedule import SCHEDULES, learning_rate
from classification.trial.state import TrialState
from classification.trial.task_graph import GraphSettings
from utils.lazy_tensorflow import tf
from utils.utils import random_state, readable, stateless_seed


class Interrupted(Exception):
    """The trial was asked to stop; a checkpoint has been written."""


class TrialFailed(Exception):
    """The trial cannot go on; its text is one line."""


class Trial(object):
    """One trial of an experiment.

    Args:
        experiment: Experiment; the attribute has the trial's own order of tasks.
        number: 0-based; also the data group.
        tasks: list of gen_data.Task.
        context: TrialContext.
        given: dict name -> array, what variables of these names start from instead of being drawn.
    """

    def __init__(self, experiment, number, tasks, context, given=None):
        self.experiment = experiment = experiment.of_trial(number)
        self.number, self.context, self.given = number, context, given or {}
        self.tasks = {task.index: task for task in trial_analyses.tasks_of(experiment, number, tasks)}
        self.method = method_of(experiment)
        self.method.log, self.method.say = self.log, self.say
        self.schedule = SCHEDULES[experiment.schedule](experiment, number)
        self.state = TrialState(experiment, self.method, self.schedule.new_progress,
                                checkpoint.path_in(context.folder))
        self.recorder, self.policy = Recorder(self), self.method.policy(self)
        self.settings = GraphSettings(
            experiment.training.batch_size, experiment.evaluation_batch * context.evaluation_factor,
            context.config, 'data_augment' in experiment.analyses)
        self.earlier = EarlierNetworks(self.method, context.config)

    @property
    def store(self):
        """Parameters as the last phase left them: dict name -> array."""
        return self.state.store

    def log(self, line):
        """One line for the log."""
        self.context.log('trial %d: %s' % (self.number, line))

    def say(self, line):
        """One line for the log and the screen."""
        self.log(line)
        self.context.send(note='trial %d: %s' % (self.number, line), logged=True)

    # ---- the loop ----

    def run(self):
        """Trains on every task of the order, from the checkpoint if there is one.

        Returns:
            TrialRecord.
        Raises:
            Interrupted, TrialFailed.
        """
        if self.experiment.order_rule:
            self.log('order of tasks: %s' % ' '.join(map(str, self.experiment.task_order)))
        self._restore()
        self.recorder.open_scalars(self.context.scalar_folder)
        with contextlib.closing(self.earlier):
            for task in self.schedule.positions[self.state.position:]:
                self._learn_task(task)
                trial_analyses.position_learned(self)
                self.context.check_lock()
                # before the checkpoint: a kill between them costs an epoch and no file
                if self.context.parameter_folder:
                    trial_analyses.save_parameters(self, task)
                self.state.next_position()
                self._checkpoint()
        self.recorder.write_scalars(last=True)
        return self.recorder.record(trial_analyses.fields(self))

    def _learn_task(self, task):
        state = self.state
        if len(state.history.first_epochs) == state.position:
            state.before = dict(state.store)
            state.store = self.method.start_task(task, state.store, self._draws(task))
            state.history.start_task()
        last = state.phase > 0 and state.phase == len(self._phases(task))      # stopped after the last phase
        while not last:
            state.progress = state.progress or self.schedule.new_progress()
            epochs = self._phases(task)[state.phase]
            with self._graph(task) as graph:
                self._learn_phase(graph, task, epochs)
                state.history.trained(trained_size(graph.updates()))
                last = self._end_phase(graph, task)
            state.next_phase()
            if not last or not self.policy.final:
                self._checkpoint()
        self.policy.end_task(task)

    def _learn_phase(self, graph, task, epochs):
        state = self.state
        if 'leep' in self.experiment.analyses and (state.phase, state.epoch) == (0, 0):
            earlier = list(OrderedDict.fromkeys(self.experiment.task_order[:state.position]))
            state.history.leep[:, state.position, earlier] = leep.scores(graph, earlier)
        if not state.history.accuracies:
            self.recorder.evaluate(graph, task, epochs)
        while state.epoch < epochs and not state.progress.exhausted(state.epoch):
            self.method.start_epoch(graph, task)
            trained = self.schedule.start_epoch(graph, task, state)
            began = time.monotonic()
            self._train_epoch(graph, trained)
            state.history.add('training_seconds', time.monotonic() - began)
            state.next_epoch()
            self.recorder.epoch_ends(graph, trained, epochs)
            if self.context.stopping():
                self._checkpoint(graph)
                raise Interrupted()
            if time.monotonic() - state.saved >= 60 * self.context.minutes and state.epoch < epochs:
                self._checkpoint(graph)

    def _train_epoch(self, graph, task):
        experiment, data, epoch = self.experiment, self.tasks[task], self.state.global_epoch
        draw_key = dict(seed=experiment.seed, trial=self.number, task=task, epoch=epoch)
        rate = learning_rate(experiment.training, epoch)
        batch = self.settings.batch_size
        steps = data.train.size // batch       # an incomplete last batch is dropped
        orders = {'training': random_state(purpose='batches', **draw_key).permutation(data.train.size)}
        if self.method.validation_batches:
            orders['validation'] = random_state(purpose='validation batches',
                                                **draw_key).permutation(data.valid.size)
        for step in range(steps):
            rows = {name: np.take(order, np.arange(step * batch, (step + 1) * batch), mode='wrap')
                    for name, order in orders.items()}
            augmentation = random_state(step=step, purpose='augmentation',
                                        **draw_key) if self.settings.augments else None
            graph.step(rows, rate, stateless_seed(step=step, purpose='dropout', **draw_key),
                       augmentation=augmentation)
        total, loss = graph.take_loss()
        self.state.history.losses.append(total / steps)
        if not np.isfinite(loss):
            raise TrialFailed('the loss of task %d became %s in epoch %d'
                              % (task, loss, self.state.epoch + 1))

    def _end_phase(self, graph, task):
        """Lets the policy hand the parameters on; returns whether it was the task's last phase."""
        if self.experiment.early_stopping and self.state.best:
            graph.restore_all(self.state.best)
        values = dict(self.state.store)
        values.update(graph.values())
        if not all(np.isfinite(value).all() for value in values.values()):
            raise TrialFailed('a parameter is not finite after task %d' % task)
        last = self.state.phase + 1 == len(self._phases(task))
        self.policy.end_phase(task, values, graph, last)
        return last

    def _phases(self, task):
        return self.schedule.phases(task, self.method)

    def _draws(self, task):
        return lambda name: random_state(self.experiment.seed, self.number, task, purpose=name)

    def _graph(self, task):
        state, folder = self.state, self.context.graph_folder
        learned = [self.tasks[index] for index in self.schedule.tasks_at(state.position)]
        graph = self.schedule.graph_type(self.method, dict(self.given, **state.store), self.tasks[task],
                                         learned, self._draws(task), self.settings, state.phase,
                                         self.earlier)
        if folder and state.epoch == 0:
            folder = os.path.join(folder, 'task%d' % state.position,
                                  *(['phase%d' % state.phase] if state.phase else []))
            # it takes paths in UTF-8, in any language
            tf.summary.FileWriter(readable(folder), graph.graph).close()
        if state.variables:
            graph.restore_all(state.variables)
            state.variables = {}
        else:
            self.method.start_phase(graph, task, state.phase)
        return graph

    # ---- what a policy (model/phases.py) uses beside `method`, `state` and `recorder` ----

    def hand_on(self, task, values, graph, last):
        """The next phase begins with these values; after the last one the task is learned."""
        state = self.state
        state.store = self.method.end_phase(task, state.phase, state.before, values, graph)
        if last:
            for learned in self.schedule.learned_with(task):
                state.store = self.method.end_task(learned, state.before, state.store, graph)
            changed = state.epoch == 0 or any(      # a phase without epochs has no accuracies yet
                not np.array_equal(value, values[name]) for name, value in state.store.items())
            if changed:
                graph.set_values(state.store)
            self.recorder.task_learned(task, self.recorder.final_row(graph, changed))

    def save_alternative(self, task, values):
        """Writes the parameter file of a phase of several, if parameter files were asked for."""
        if self.context.parameter_folder and len(self._phases(task)) > 1:
            self.context.check_lock()
            trial_analyses.save_alternative(self, task, values)

    # ---- checkpoints ----

    def _checkpoint(self, graph=None):
        self.context.check_lock()
        self.state.save(graph)

    def _restore(self):
        """Takes up the checkpoint, if there is one; says where what was trained before has another origin."""
        state, now, earlier = self.state, self.context.origin or origin.UNKNOWN, []
        if state.load(self.say):
            earlier = state.origins or [origin.UNKNOWN]
            state.shares = state.shares or [{}]     # an earlier version does not say it
            self.log('resumed at position %d, epoch %d of the task' % (state.position, state.epoch))
        state.origins = origin.continued(earlier, now)
        if self.context.share not in state.shares:
            state.shares.append(dict(self.context.share))
        difference = origin.mixture({self.number: state.origins})
        if earlier and now and difference:
            self.context.send(
                note='trial %d goes on from a checkpoint of another origin (%s); the reports will say so; '
                     '--restart %d trains this trial from the start' % (self.number, difference, self.number))
