"""What a report says about experiments on the same data: metrics per trial, statistics over trials,
comparisons."""
from collections import OrderedDict
from typing import Dict, List, NamedTuple, Optional

import numpy as np

from classification.model.registry import canonical_model
from classification.report.groups import Group
from classification.report.marks import Mark, bracketed, marks_of
from classification.results.metrics import catastrophic_forgetting_ratio, mean_and_std, mean_over_tasks
from classification.results.summary import WITHOUT_IDENTITY
from classification.results.trial_record import BY_POSITION
from utils.utils import UserError, plural

CONFIDENCE = 0.95
STL = 'STL'


class Metric(NamedTuple):
    """A column of the report."""
    title: str          # whole name
    short: str          # of two lines' width at most, for wide tables
    digits: str
    definition: str
    compared: bool      # with the baseline
    where_known: bool = False       # shown only where an experiment has it


# R: test accuracy on each task after each position of the order of tasks, from 0 to 1.
METRICS = OrderedDict([
    ('peak', Metric(
        'peak per-task test accuracy', 'peak', '%.4f',
        'test accuracy on a task at the best validation epoch while it was learned; mean over tasks', True)),
    ('final', Metric(
        'final average test accuracy', 'final', '%.4f',
        'test accuracy after the last task; mean over tasks', True)),
    ('incremental', Metric(
        'average incremental test accuracy', 'incremental', '%.4f',
        'mean over the positions of the mean test accuracy on the tasks learned so far', True)),
    ('transfer', Metric(
        'backward transfer', 'backward transfer', '%.4f',
        'final test accuracy minus that right after the task was learned; mean over tasks but the last',
        True)),
    ('forgetting', Metric(
        'forgetting', 'forgetting', '%.4f',
        'best test accuracy after an earlier position minus the final one; mean over tasks but the last',
        True)),
    ('ratio', Metric(
        'catastrophic-forgetting ratio', 'CF ratio', '%.4f',
        'final test accuracy divided by peak; mean over tasks but the last; 1: nothing was forgotten', True)),
    ('no_identity', Metric(
        'final average test accuracy, task not known', 'final, task not known', '%.4f',
        'test accuracy after the last task, where the most confident of all tasks\' networks answers; mean '
        'over tasks', True, True)),
    ('right_task', Metric(
        'right task chosen', 'right task', '%.4f',
        'share of test images for which the network of their own task is the most confident; mean over tasks',
        True, True)),
    ('peak_gain', Metric(
        'gain over STL, peak', 'gain, peak', '%.4f',
        'peak per-task test accuracy minus that of STL (an independent network per task) in the same trial',
        False)),
    ('final_gain', Metric(
        'gain over STL, final', 'gain, final', '%.4f',
        'final average test accuracy minus that of STL in the same trial', False)),
    ('time', Metric('training time', 'time (s)', '%.1f', 'seconds of a trial, evaluation included', False)),
    ('parameters', Metric(
        'parameters', 'parameters', '%d',
        'values that are kept after the last task, for all tasks together; in files of earlier versions: of '
        'the last trial', False)),
    ('trained', Metric(
        'parameters trained for a task', 'trained', '%d',
        'values that learning a task may change, with all that a search tries; mean over positions', False,
        True)),
    ('state', Metric(
        'state beside the parameters', 'state (bytes)', '%d',
        'bytes that the method keeps beside the parameters after the last task', False, True)),
    ('multiply_adds', Metric(
        'multiply-adds', 'multiply-adds', '%d',
        'multiplications with an addition in the forward pass of one image, in convolutions and matrix '
        'products; mean over tasks', False, True)),
    ('memory', Metric('peak memory', 'memory (MB)', '%d',
                      'most main memory that the process of a trial held, in 10^6 bytes', False, True)),
    ('steps', Metric('seconds of training steps', 'steps (s)', '%.1f', 'of a trial', False, True)),
    ('evaluation', Metric('seconds of evaluation', 'evaluation (s)', '%.1f', 'of a trial', False, True)),
])


class Summary(NamedTuple):
    """Statistics over trials; NaN where undefined."""
    mean: float
    std: float          # sample standard deviation (n - 1)
    n: int              # trials in which the metric is defined


class Difference(NamedTuple):
    """A method minus the baseline, paired over trials; NaN where undefined."""
    mean: float
    lower: float        # of the simultaneous interval
    upper: float
    n: int              # pairs


class Row(NamedTuple):
    """What the report says about one experiment."""
    label: str
    summaries: Dict[str, Summary]           # by key of METRICS
    # by key of METRICS; {} without a baseline, and for the baseline itself
    differences: Dict[str, Difference]
    marks: List[Mark]

    @property
    def marked(self):
        """'DEN [at chance]': the label and its marks."""
        return (self.label + ' ' + bracketed(self.marks)).rstrip()


class Comparison(NamedTuple):
    """A group with its numbers."""
    group: Group
    baseline: Optional[str]     # its label
    rows: List[Row]
    notes: List[str]

    @property
    def metrics(self):
        """Those of METRICS that are shown."""
        return OrderedDict((name, metric) for name, metric in METRICS.items()
                           if not metric.where_known or any(row.summaries[name].n for row in self.rows))

    @property
    def compared(self):
        """How many methods are compared with the baseline: Bonferroni's number."""
        return len(self.rows) - 1 if self.baseline else 0

    @property
    def has_intervals(self):
        """Whether any difference has an interval."""
        return any(not np.isnan(one.lower) for row in self.rows for one in row.differences.values())


def per_trial(result):
    """Key of METRICS -> [R], one number per trial; NaN where undefined or not in the file.
    Gains are not among them."""
    trials = len(result['train_valid_data_group'])
    missing = np.full(trials, np.nan)
    values = {'peak': _mean(result, 'peak_accuracy'), 'final': _mean(result, 'final_accuracy'),
              'incremental': result.get('avg_incremental_accuracy'),
              'transfer': result.get('backward_transfer'),
              'no_identity': _mean(result, WITHOUT_IDENTITY['accuracy_without_task_identity']),
              'right_task': _mean(result, WITHOUT_IDENTITY['right_task_chosen']),
              'forgetting': _mean(result, 'forgetting'), 'time': result.get('training_time')}
    if 'accuracy_matrix' in result and 'peak_accuracy' in result:
        values['ratio'] = mean_over_tasks([catastrophic_forgetting_ratio(R, peak) for R, peak in
                                           zip(result['accuracy_matrix'], result['peak_accuracy'])])
    return {name: missing if values.get(name) is None else np.asarray(values[name], dtype=np.float64)
            for name in METRICS if name in values or name == 'ratio'}


def _resources(result):
    """As `per_trial`, of what the trials took."""
    if not set(BY_POSITION + ('multiply_adds', 'peak_memory')) <= set(result):
        return {'parameters': [result['model_specific_info'].get('number_of_trainable_parameters', np.nan)]}
    return {'parameters': result['kept_parameters'][:, -1],
            'trained': result['trainable_parameters'].mean(axis=1), 'state': result['state_bytes'][:, -1],
            'multiply_adds': result['multiply_adds'].mean(axis=1), 'memory': result['peak_memory'] / 1e6,
            'steps': result['training_seconds'].sum(axis=1),
            'evaluation': result['evaluation_seconds'].sum(axis=1)}


def _mean(result, name):
    return mean_over_tasks(result[name]) if name in result else None


def summary(values):
    """Summary of one number per trial."""
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return Summary(np.nan, np.nan, 0)
    mean, std = mean_and_std(values)
    return Summary(float(mean), float(std), len(values))


def paired(values, trials, other, other_trials):
    """[R] of differences values - other between the same trials;
    NaN where the other experiment has no such trial."""
    place = {trial: index for index, trial in enumerate(other_trials)}
    return np.array([value - other[place[trial]] if trial in place else np.nan for value,
                     trial in zip(values, trials)])


def interval(differences, intervals=1):
    """The mean of paired differences and its interval by Student's t distribution.

    Args:
        differences: one number per trial; NaN: no pair.
        intervals: how many of them shall hold their true values together with 95 % confidence: each is made
            at 1 - 0.05 / intervals (Bonferroni).
    Returns:
        Difference; without bounds for fewer than two pairs.
    """
    from scipy.special import stdtrit
    mean, std, n = summary(differences)
    if n < 2:
        return Difference(mean, np.nan, np.nan, n)
    half = stdtrit(n - 1, 1 - (1 - CONFIDENCE) / intervals / 2) * std / np.sqrt(n)
    return Difference(mean, float(mean - half), float(mean + half), n)


def compare(group, baseline=None):
    """The numbers of a group.

    Args:
        group: Group.
        baseline: label or model type of the method that the others are compared with; None: STL if it is
            there.
    Returns:
        Comparison; without a baseline if the group has none of that name, or several, which its notes say.
    """
    base, notes = _find(group, baseline or STL)
    if baseline is None and base is None:
        notes = []
    stl = _find(group, STL)[0]
    if stl is None:
        notes.append('No gain over STL: the files do not hold one STL experiment on these data.')
    values = [per_trial(one.result) for one in group.members]
    rows = []
    for one, mine in zip(group.members, values):
        if stl is not None and one is not group.members[stl]:
            for name in ('peak', 'final'):
                mine[name + '_gain'] = paired(mine[name], one.trials, values[stl][name],
                                              group.members[stl].trials)
        mine.update(_resources(one.result))
        summaries = {name: summary(mine.get(name, [])) for name in METRICS}
        rows.append(Row(one.label, summaries, {}, marks_of(one)))
    if base is not None:
        for place, one in enumerate(group.members):
            if place != base:
                rows[place].differences.update((name, interval(
                    paired(values[place][name], one.trials, values[base][name], group.members[base].trials),
                    len(rows) - 1)) for name, metric in METRICS.items() if metric.compared)
    if any(len(one.trials) == 1 for one in group.members):
        notes.append('With one trial there is neither a standard deviation nor an interval.')
    notes += ['%s %s: %s.' % (row.label, bracketed([mark]), mark.explanation) for row in rows
              for mark in row.marks]
    return Comparison(group, None if base is None or len(rows) < 2 else rows[base].label, rows, group.notes
                      + notes)


def check_baseline(groups, baseline):
    """Raises:
        UserError: no group has a method of this name.
    """
    if baseline is not None and not any(_matches(group, baseline) for group in groups):
        labels = sorted({one.label for group in groups for one in group.members})
        raise UserError('--baseline %s: choose one of: %s' % (baseline, '; '.join(labels)))


def _find(group, name):
    """(place of the member of this label or model type, notes); None where none or several have it."""
    same = _matches(group, name)
    if len(same) == 1:
        return same[0], []
    return None, ['No differences to %s: %s.' % (name, '%d methods have this name; give a whole label'
                                                 % len(same) if same else
                                                 'it is not among the methods on these data')]


def _matches(group, name):
    """Places of the members of this label, else of this model type."""
    whole = [place for place, one in enumerate(group.members) if one.label.lower() == name.lower()]
    model = _canonical(name.lower())
    return whole or [place for place, one in enumerate(group.members) if _method(one.label) == model]


def _method(label):
    return label.split(',')[0].split(' ')[0].lower()


def _canonical(name):
    """A model type as labels begin with it, from any spelling; other names as they are; lower case."""
    try:
        return canonical_model(name).lower()
    except UserError:
        return name


def correction(comparison):
    """What the intervals are, in words."""
    return ('95 % interval of the difference to {0}: paired over trials, Student\'s t; Bonferroni '
            'correction for {1} compared with {0}: each interval has level 1 - 0.05/{2}, all of a metric '
            'hold together with 95 %'.format(
                comparison.baseline, plural(comparison.compared, 'method'), comparison.compared))
