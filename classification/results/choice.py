"""A choice among experiments by validation accuracy, and what the chosen one's entry says of it.

Nothing here looks at a test accuracy.
"""
from typing import Any, List, NamedTuple

import numpy as np

from classification.results.metrics import mean_and_std
from classification.results.summary import distinct, last_rows, orders_of_trials
from utils.utils import plural

FIELD = 'grid'                 # of an entry: a cell with a struct for each time that it was chosen
FINAL, PEAK = 'final', 'peak'
MEASURES = (FINAL, PEAK)
MEANING = {
    FINAL: 'validation accuracy after the last task, mean over tasks',
    PEAK: 'validation accuracy at the best validation epoch while a task was learned, mean over tasks'}
HANDED_ON = 'final_validation_accuracy'


class Tried(NamedTuple):
    """An experiment among which one is chosen."""
    values: Any              # OrderedDict option -> its value, as the user wrote it
    fingerprint: str
    accuracies: List[float]  # of its trials

    @property
    def mean(self):
        """Over the trials."""
        return float(mean_and_std(self.accuracies)[0])

    @property
    def std(self):
        """Sample standard deviation; NaN of one trial."""
        return float(mean_and_std(self.accuracies)[1])


class Choice(NamedTuple):
    """One of several experiments, chosen on validation data."""
    tried: List[Tried]
    measure: str             # one of MEASURES
    trials: int              # that chose
    seed: int                # of these
    apart: bool              # whether the trials that are reported took no part

    @property
    def chosen(self):
        """Place of the one with the highest mean; the first of equal ones."""
        return int(np.argmax([one.mean for one in self.tried]))


# ---- validation accuracies in an entry ----

def numbers_of(entry):
    """Numbers of the trials of an entry."""
    return np.ravel(entry['train_valid_data_group']).astype(int).tolist()


class Accuracies(NamedTuple):
    """Validation accuracy of each of some trials, mean over tasks."""
    handed_on: Any           # of the parameters handed on; None: an earlier version trained some trials
    last_epoch: Any          # of the last epoch, which that knew; for the peak the same


def accuracies(entry, measure, numbers):
    """Accuracies by one of MEASURES of trials of an entry.

    Args:
        entry: as a result file holds it.
        numbers: of the trials; it has all of them.
    """
    trials = numbers_of(entry)
    places = [trials.index(number) for number in numbers]
    orders = orders_of_trials(np.asarray(entry['task_order']).astype(int), len(trials))
    runs = [(entry['result_of_each_run'][place], orders[place]) for place in places]
    if measure == PEAK:
        peak = [float(_peak(run, order)) for run, order in runs]
        return Accuracies(peak, peak)
    return Accuracies(entry[HANDED_ON][places].mean(axis=1).tolist() if HANDED_ON in entry else None,
                      [float(_last_epoch(run, order)) for run, order in runs])


def _last_epoch(run, order):
    return run['history_validation_error'][-1, distinct(order)].mean()


def _peak(run, order):
    if 'task_changed_epoch' not in run:         # all tasks were learned together
        return run['best_validation_error'].item()
    history = run['history_validation_error']
    starts = np.ravel(run['task_changed_epoch']).astype(int)
    ends = last_rows(starts, len(history)) + 1
    first = [order.index(task) for task in distinct(order)]
    return np.mean([history[starts[place]:ends[place], order[place]].max() for place in first])


# ---- what the chosen entry says ----

def struct(choice):
    """What FIELD holds of a choice."""
    options = list(choice.tried[0].values)
    return {
        'options': options,
        'values': [[one.values[name] for name in options] for one in choice.tried],
        'fingerprints': [one.fingerprint for one in choice.tried],
        'validation_accuracy': np.array([one.accuracies for one in choice.tried]),
        'validation_mean': np.array([one.mean for one in choice.tried]),
        'validation_std': np.array([one.std for one in choice.tried]),
        'measure': choice.measure, 'chosen': choice.chosen + 1, 'trials': choice.trials, 'seed': choice.seed,
        'reported_apart': choice.apart}


def choices_of(entry):
    """The structs of FIELD; those that another program wrote under this name are left out."""
    found = entry.get(FIELD)
    return [one for one in (found if isinstance(found, list) else []) if in_words(one)]


def with_choices(entry, structs):
    """An entry with these and no others."""
    others = {name: value for name, value in entry.items() if name != FIELD}
    return dict(others, **{FIELD: structs}) if structs else others


def updated(structs, choice, here):
    """The structs of an entry after a choice: its own in the place of an earlier one among the same
    experiments, or behind the others, where the entry is chosen (`here`); else without that."""
    among = {one.fingerprint for one in choice.tried}
    places = [place for place, one in enumerate(structs) if set(one['fingerprints']) == among]
    place = places[0] if places else len(structs)
    left = [one for one in structs if set(one['fingerprints']) != among]
    return left[:place] + ([struct(choice)] if here else []) + left[place:]


def in_words(struct):
    """'chosen among 6 on validation data: ...' of a struct as a file holds it; None of other values."""
    try:
        options, values, mean = struct['options'], struct['values'], np.ravel(struct['validation_mean'])
        chosen, trials, seed = [int(np.ravel(struct[name])[0]) for name in ('chosen', 'trials', 'seed')]
        picked = ', '.join('%s %s' % pair for pair in zip(options, values[chosen - 1]))
        tried = '; '.join('%s %s' % (name, ', '.join(distinct([row[place] for row in values])))
                          for place, name in enumerate(options))
        return ('chosen among %d on validation data: %s, of %s; %s: %.4f; %s with seed %d chose, %s' % (
            len(set(struct['fingerprints'])), picked, tried, MEANING[struct['measure']], mean[chosen - 1],
            plural(trials, 'trial'), seed, 'and are not among those reported'
            if np.any(struct['reported_apart']) else 'those reported among them'))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None
