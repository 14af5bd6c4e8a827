"""What becomes of the phases in which a task is learned: one goes on where the other ends, or the best of all is kept."""
import numpy as np

VALID = 1      # place of the validation accuracy in a row of accuracies


class InTurn(object):
    """Each phase begins with what the one before it handed on.

    Args:
        trial: train.Trial; a policy uses `store`, `before`, `phase`, `history`, `progress` and what they offer.
    """
    final = True       # what is recorded of a phase stays

    def __init__(self, trial):
        self.trial, self.scores, self.winner = trial, [], {}

    def restore(self, scores, winner):
        """Takes up what a checkpoint kept: `scores`, JSON-able, and `winner`, dict name -> array."""
        self.scores, self.winner = scores, winner

    def end_phase(self, task, values, graph, last):
        """Hands the variables' values on."""
        self.trial.hand_on(task, values, graph, last)

    def end_task(self, task):
        """After the last phase, whose graph is closed."""


class Alternatives(InTurn):
    """Every phase begins with what the task began with; the best at its last epoch, on validation data, is kept.

    The method has `choose(task, scores)`, which is told the last validation accuracy of every phase; of equal ones the
    first is kept.
    """
    final = False

    def end_phase(self, task, values, graph, last):
        """Keeps the outcome if it is the best so far, and goes back to the task's start."""
        trial, history = self.trial, self.trial.history
        trial.save_alternative(task, values)
        outcome, start = trial.final_row(graph, False), history.changed[-1]
        score = float(history.rows[-1][task, VALID])
        if not self.scores or score > max(self.scores):
            self.winner = {'values/' + name: value for name, value in values.items()}
            self.winner.update(rows=np.array(history.rows[start:]), final=outcome,
                               best_test=np.array(history.best_test[start:]), progress=np.array(trial.progress.state()))
        self.scores.append(score)
        trial.global_epoch -= len(history.rows) - start
        del history.rows[start:], history.best_test[start:]
        trial.store, trial.progress = dict(trial.before), None

    def end_task(self, task):
        """Goes on with the best."""
        trial, winner = self.trial, self.winner
        trial.store = {name[len('values/'):]: value for name, value in winner.items() if name.startswith('values/')}
        trial.history.rows.extend(winner['rows'])
        trial.history.best_test.extend(winner['best_test'])
        trial.global_epoch += len(winner['rows'])
        trial.progress = trial.new_progress(tuple(winner['progress']))
        trial.method.choose(task, self.scores)
        self.scores, self.winner = [], {}
        trial.task_learned(task, winner['final'])
