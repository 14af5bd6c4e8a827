"""What becomes of the phases in which a task is learned: one goes on where the other ends, or the best of all
is kept."""
import numpy as np

VALID = 1      # place of the validation accuracy in a row of accuracies


class InTurn(object):
    """Each phase begins with what the one before it handed on.

    Args:
        trial: train.Trial, of which a policy uses `state` (TrialState: `scores` and `winner` are the policy's
            own), `method`, `recorder` (`final_row`, `task_learned`), `hand_on` and `save_alternative`.
    """
    final = True       # what is recorded of a phase stays

    def __init__(self, trial):
        self.trial = trial

    def end_phase(self, task, values, graph, last):
        """Hands the variables' values on."""
        self.trial.hand_on(task, values, graph, last)

    def end_task(self, task):
        """After the last phase, whose graph is closed."""


class Alternatives(InTurn):
    """Every phase begins with what the task began with; the best at its last epoch, on validation data, is
    kept.

    The method has `choose(task, scores)`, which is told the last validation accuracy of every phase; of equal
    ones the first is kept.
    """
    final = False

    def end_phase(self, task, values, graph, last):
        """Keeps the outcome if it is the best so far, and goes back to the task's start."""
        trial, state, history = self.trial, self.trial.state, self.trial.state.history
        trial.save_alternative(task, values)
        outcome, start = trial.recorder.final_row(graph, False), history.first_epochs[-1]
        score = float(history.accuracies[-1][task, VALID])
        if not state.scores or score > max(state.scores):
            state.winner = {'values/' + name: value for name, value in values.items()}
            state.winner.update(('answers/%d' % other, given) for other, given in history.answers.items())
            state.winner.update(rows=np.array(history.accuracies[start:]), final=outcome,
                                best_test=np.array(history.best_test[start:]),
                                losses=np.array(history.losses[start - 1:]),
                                progress=np.array(state.progress.state()))
        state.scores.append(score)
        state.global_epoch -= len(history.accuracies) - start
        del history.accuracies[start:], history.best_test[start:], history.losses[start - 1:]
        history.answers = dict(history.final_answers)
        state.store, state.progress = dict(state.before), None

    def end_task(self, task):
        """Goes on with the best."""
        state, winner = self.trial.state, self.trial.state.winner
        state.store = {name[len('values/'):]: value for name, value in winner.items()
                       if name.startswith('values/')}
        state.history.accuracies.extend(winner['rows'])
        state.history.best_test.extend(winner['best_test'])
        # of a checkpoint of before: not known
        state.history.losses.extend(winner.get('losses', np.full(len(winner['rows']), np.nan)))
        state.history.answers = {int(name[len('answers/'):]): value for name, value in winner.items()
                                 if name.startswith('answers/')}
        state.global_epoch += len(winner['rows'])
        state.progress = state.new_progress(tuple(winner['progress']))
        self.trial.method.choose(task, state.scores)
        self.trial.recorder.task_learned(task, winner['final'])
        state.scores, state.winner = [], {}
