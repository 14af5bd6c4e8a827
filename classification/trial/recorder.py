"""What is recorded of a trial: it evaluates the tasks, keeps the histories and makes the record."""
import json
import time
from collections import OrderedDict

import numpy as np

from classification.results import metrics, predictions
from classification.results.ragged import packed
from classification.results.trial_record import BY_POSITION, TEST, TRAIN, VALID, TrialRecord
from classification.trial.resources import multiply_adds, peak_memory
from classification.trial.schedule import learning_rate
from classification.trial.tensorboard import Scalars


class Recorder(object):
    """Fills the history of a train.Trial, of which it uses everything but the loop."""

    def __init__(self, trial):
        self.trial, self.scalars = trial, None
        self._keeps_predictions = 'save_predictions' in trial.experiment.analyses

    # ---- a row for each epoch ----

    def epoch_ends(self, graph, trained, epochs):
        """Records an epoch that trained this task, of a phase of so many, and tells the progress display."""
        trial, state, task = self.trial, self.trial.state, graph.task.index
        state.history.add_method_rows(trial.method.end_epoch(graph, task, state.epoch == epochs))
        self.evaluate(graph, trained, epochs)
        if trial.policy.final:
            self.write_scalars()
        valid, test = self.means(state.history.accuracies[-1], task)
        trial.context.send(
            position=state.position, epoch=state.epoch, epochs=epochs, done=state.trained, valid=valid,
            test=test, task=task if trial.experiment.lifelong else None,
            total=trial.method.planned_epochs(trial.experiment.task_order, trial.experiment.training.epochs))

    def evaluate(self, graph, trained, epochs):
        """Adds one row: the accuracies of every task so far; those that cannot have changed are carried
        forward.

        Those of tasks learned before are NaN where `eval_interval` passes an epoch over, never at the end of
        a phase.
        """
        trial, state, history = self.trial, self.trial.state, self.trial.state.history
        row, together = np.full_like(history.final, np.nan), trial.schedule.learned_with(graph.task.index)
        self._fill(row, graph, [task for task in graph.learned if task.index in together], trained)
        if state.progress.add(state.epoch, *self.means(row, graph.task.index)):
            history.peak.update(trial.schedule.peaks(row))
            if trial.experiment.early_stopping:
                # a prior belongs to the parameters that it was found with
                state.best = graph.all_values()
        due = (state.epoch % trial.experiment.eval_interval == 0 or state.epoch >= epochs
               or state.progress.exhausted(state.epoch))
        self._fill(row, graph, [task for task in graph.learned if task.index not in together], trained, due)
        history.accuracies.append(row)
        history.best_test.append(state.progress.best_test)

    def _fill(self, row, graph, tasks, trained, due=True):
        method, state, history = self.trial.method, self.trial.state, self.trial.state.history
        begins = state.position > 0 and len(history.accuracies) == history.first_epochs[-1]
        unchanged = history.final if begins or not history.accuracies else history.accuracies[-1]
        for task in tasks:
            if history.accuracies and task.index != trained and not method.outputs_may_change(
                    task.index, state.phase):
                row[task.index] = unchanged[task.index]
            elif due:
                row[task.index] = self._evaluated(graph, task)

    def _evaluated(self, graph, task):
        """Accuracies [3] of a task; its answers to the test images are kept beside them."""
        history, began = self.trial.state.history, time.monotonic()
        accuracy = graph.accuracy(task)
        history.add('evaluation_seconds', time.monotonic() - began)
        history.answers[task.index] = graph.answers(task)
        return accuracy

    def means(self, row, task):
        """(validation, test) accuracy in a row, mean over the tasks that are learned with this one."""
        return row[list(self.trial.schedule.learned_with(task))].mean(axis=0)[[VALID, TEST]].tolist()

    # ---- a row for each task learned ----

    def final_row(self, graph, changed):
        """Accuracies with the parameters that are handed on, which a roll-back or early stopping may have
        changed."""
        history = self.trial.state.history
        if not changed and not self.trial.experiment.early_stopping:
            return history.accuracies[-1]
        row = np.full_like(history.accuracies[-1], np.nan)
        for learned in graph.learned:
            row[learned.index] = self._evaluated(graph, learned)
        return row

    def task_learned(self, task, final):
        """Adds the row of the accuracy matrix; `final` is what `final_row` gave."""
        trial, state, history = self.trial, self.trial.state, self.trial.state.history
        history.add('kept_parameters', trial.method.num_parameters(state.store))
        history.add('state_bytes', trial.method.state_bytes(state.store))
        history.final, history.final_answers = final, dict(history.answers)
        for index, answers in history.answers.items():
            history.confusion[state.position, index] = metrics.confusion(
                trial.tasks[index].test.labels, answers, trial.tasks[index].num_classes)
            if self._keeps_predictions:
                history.predictions[state.position, index] = answers
        history.accuracy_matrix.append(np.array([final[index, TEST] for index in trial.experiment.tasks]))
        history.peak.setdefault(task, state.progress.best_test)
        trial.log('learned %stest accuracy %.4f, at the best validation epoch %.4f' % (
            trial.schedule.label(task, state), self.means(final, task)[1], state.progress.best_test))
        before = trial.schedule.tasks_at(state.position - 1) if state.position else []
        for learned in trial.schedule.learned_with(task):
            at_chance = self._ends_at_chance(learned, final[learned, TRAIN])
            if learned not in before:
                history.at_chance[learned] = at_chance

    def _ends_at_chance(self, task, accuracy):
        """Whether this accuracy on a task's training images is no better than chance;
        tells the user if so."""
        trial = self.trial
        class_counts = np.bincount(trial.tasks[task].train.labels)
        right = int(round(accuracy * class_counts.sum()))
        at_chance = metrics.at_chance(right, class_counts)
        if at_chance:
            position = ' (position %d)' % trial.state.position if trial.experiment.lifelong else ''
            trial.say(
                'task %d%s ends at chance: %d of %d training images are right; always answering the most '
                'frequent class gives %d' % (task, position, right, class_counts.sum(), class_counts.max()))
        return at_chance

    # ---- what is left ----

    def open_scalars(self, folder):
        """From now on `write_scalars` writes for TensorBoard, into this folder; None: it does not."""
        self.scalars = Scalars(folder) if folder else None

    def write_scalars(self, last=False):
        """Adds what is new in the history."""
        if self.scalars:
            self.scalars.write(self.trial.state.history.accuracies, self.trial.state.history.best_test)
            if last:
                self.scalars.close()

    def record(self, fields):
        """TrialRecord, when all tasks are learned; `fields` are those of the analyses."""
        trial, state = self.trial, self.trial.state
        history, tasks = state.history, trial.experiment.tasks
        accuracy = np.reshape(history.accuracies, (-1, history.num_tasks, 3))
        extra = OrderedDict((name, np.array(rows)) for name, rows in history.method_rows.items())
        for more in (trial.method.extra(trial.experiment.task_order), fields,
                     trial.schedule.fields(accuracy)):
            extra.update(more)
        at_chance = [history.at_chance.get(task) for task in tasks]
        final_valid = history.final[list(tasks), VALID]
        confusion, confusion_parts = packed(history.confusion)
        losses = np.array(history.losses)
        return TrialRecord(
            trial=trial.number, accuracy=accuracy, best_test=np.array(history.best_test),
            task_changed_epoch=np.array(history.first_epochs),
            accuracy_matrix=np.array(history.accuracy_matrix),
            peak=np.array([history.peak[task] for task in tasks]), time_per_task=np.array(history.seconds),
            training_time=state.elapsed, num_parameters=trial.method.num_parameters(state.store), extra=extra,
            at_chance=None if None in at_chance else np.array(at_chance), origin=json.dumps(state.origins),
            task_order=np.array(trial.experiment.task_order) if trial.experiment.order_rule else None,
            # not known where an earlier version's checkpoint does not say it
            final_valid=None if np.isnan(final_valid).any() else final_valid,
            loss=losses, learning_rate=learning_rate(trial.experiment.training, np.arange(len(losses))),
            confusion=confusion, confusion_parts=confusion_parts,
            predictions=predictions.kept(
                history.predictions, {task: trial.tasks[task].test for task in tasks})
            if self._keeps_predictions else None, resources=self._resources(tasks))

    def _resources(self, tasks):
        """What TrialRecord says of them."""
        trial, state = self.trial, self.trial.state
        return dict({name: np.array(getattr(state.history, name), np.float64) for name in BY_POSITION},
                    multiply_adds=multiply_adds(trial.method, tasks),
                    peak_memory=np.array(max(state.peak_memory, peak_memory()), np.float64),
                    **{name: np.array(self._the_only(name)) for name in trial.context.share})

    def _the_only(self, name):
        """This of TrialContext.share; NaN where it changed while the trial was trained, or may have."""
        values = {share.get(name, np.nan) for share in self.trial.state.shares}
        return values.pop() if len(values) == 1 else np.nan
