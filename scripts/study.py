"""The primary comparisons of study.sh, and what the patterns that LASEM finds follow.

    python scripts/study.py [--result_dir Result] [--plot study.png]

Each comparison is a mean over trials of paired differences in final average test accuracy, with its interval
by Student's t; the nine intervals hold together with 95 % (Bonferroni), also while some are not trained yet.
For each task of Garments, learned in their own order: the posterior mass that LASEM gives to sharing a layer
in the last epoch, mean and 95 % interval over trials, each for itself; by chance 0.5. Only experiments on the
same data (seed, options, splits, order of tasks) are compared; each such group has its own intervals.
"""
import argparse
import glob
import os
import sys
from collections import OrderedDict

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from classification.experiment.flags import Parser  # noqa: E402
from classification.report.figures import (  # noqa: E402
    COLOURS,
    MARKERS,
    check_matplotlib,
    close,
    new_figure,
)
from classification.report.groups import read_groups  # noqa: E402
from classification.report.statistics import interval, paired  # noqa: E402
from classification.results.summary import last_rows  # noqa: E402
from utils import utils_env_cl as env  # noqa: E402
from utils.paths import path_argument  # noqa: E402
from utils.utils import UserError, run_command, tell_error  # noqa: E402

MECHANISMS = ('HPS', 'TF', 'DFCNN')
AGAINST = ('sharing everything', 'sharing nothing', 'the best fixed pattern')
PRIMARY = len(MECHANISMS) * len(AGAINST)
VALIDATION = 'final_validation_accuracy'       # files of earlier versions lack it
FIXED = 8       # patterns that study.sh trains
# what a task of garments.py has in common with earlier ones
COMMON = ('', 'colour', 'turn', 'colour and turn, of two tasks', 'nothing', 'everything, of one task')
NATURAL = list(range(len(COMMON)))      # the order of tasks of which COMMON speaks
ALL_TASKS = 'all %d tasks in the order %s' % (len(NATURAL), ' '.join(map(str, NATURAL)))
PICTURES = ('.png', '.svg', '.pdf')


def groups_of_garments(folder):
    """The experiments that study.sh wrote into a folder, grouped by their data.

    Returns:
        list of report.groups.Group.
    Raises:
        UserError: there are none, one is damaged, or one was trained with several settings.
    """
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), 'study_*.mat')))
    groups = [group for group in (read_groups(paths)[0] if paths else ())
              if group.members[0].result.get('data_type') == 'Garments']
    if not groups:
        raise UserError('%s has no study_*.mat with Garments; scripts/study.sh makes them' % folder)
    for group in groups:
        methods = [_method(one) for one in group.members]
        for one, method in zip(group.members, methods):
            if methods.count(method) > 1 and method.startswith(('STL', 'LASEM_', 'Hybrid_')):
                raise UserError('%s: %s was trained with several settings on the same data; train each with '
                                'a --result_dir of its own' % (one.path, method))
    return groups


def primary(members):
    """The comparisons that are trained: list of (mechanism, against what, pattern or 'STL', Difference).

    The best fixed pattern is known once all of them are trained, with their validation accuracy.

    Args:
        members: list of report.groups.Reported.
    """
    found = []
    for mechanism in MECHANISMS:
        lasem = [one for one in members if _model(one) == 'LASEM_' + mechanism]
        fixed = [one for one in members if _model(one) == 'Hybrid_' + mechanism]
        known = [one for one in fixed if VALIDATION in one.result]
        others = ([one for one in fixed if set(_pattern(one)) == {'S'}],
                  [one for one in members if _model(one) == 'STL'],
                  [max(known, key=_valid)] if len(known) == FIXED else [])
        for against, other in zip(AGAINST, others):
            if lasem and other:
                differences = paired(_final(lasem[0]), lasem[0].trials, _final(other[0]), other[0].trials)
                name = 'STL' if _model(other[0]) == 'STL' else _pattern(other[0])
                found.append((mechanism, against, name, interval(differences, PRIMARY)))
    return found


def _words(one):
    return one.label.replace(',', ' ').split()


def _model(one):
    return _words(one)[0]


def _pattern(one):
    return _words(one)[1]


def _method(one):
    return ' '.join(_words(one)[:1 + _model(one).startswith('Hybrid_')])


def _final(one):
    return one.result['final_accuracy'].mean(axis=1)


def _valid(one):
    return one.result[VALIDATION].mean()


def sharing(one):
    """[trials, positions, layers]: posterior mass on sharing a layer, mean over the steps of the last epoch
    of each position."""
    found = []
    for run in one.result['result_of_each_run']:
        posterior = run['history_net_prior_in_epoch']
        layers = int(np.log2(posterior.shape[1]))
        shares = np.array([[letter == 'S' for letter in pattern]
                           for pattern in env.patterns_of((1,) * layers)], np.float64)
        rows = last_rows(np.ravel(run['task_changed_epoch']), len(posterior) + 1) - 1
        found.append(posterior[rows].dot(shares))
    return np.array(found)


def lines_of_sharing(one):
    """A line for each task but the first: mass per layer, and that of the first half minus the last half."""
    mass = sharing(one)
    half = mass.shape[2] // 2
    for position in range(1, mass.shape[1]):
        cells = [_shown(interval(mass[:, position, layer])) for layer in range(mass.shape[2])]
        contrast = interval(mass[:, position, :half].mean(axis=1) - mass[:, position, half:].mean(axis=1))
        yield '  %d  %-32s %s   %s' % (position, COMMON[position], '  '.join(cells), _shown(contrast))


def contrasts(one):
    """Whether the mass follows what tasks have in common: dict what -> its Difference over the trials.

    A task that has the colour in common should share its first layers more, one that has the turn its last
    layers; one that has everything in common should share more than one that has nothing.
    """
    mass = sharing(one)
    half, place = mass.shape[2] // 2, COMMON.index
    leaning = mass[:, :, :half].mean(axis=2) - mass[:, :, half:].mean(axis=2)
    whole = mass.mean(axis=2)
    return OrderedDict((
        ('first minus last layers, colour minus turn',
         interval(leaning[:, place('colour')] - leaning[:, place('turn')])),
        ('all layers, everything minus nothing',
         interval(whole[:, place('everything, of one task')] - whole[:, place('nothing')]))))


def _shown(found):
    return '%6.3f [%6.3f, %6.3f]' % (found.mean, found.lower, found.upper)


def plot(searches, path):
    """The mass per layer and task, a panel for each mechanism, with its intervals."""
    figure, axes = new_figure(1, len(searches), height=3., sharey=True)
    for one, panel in zip(searches, axes[0]):
        mass = sharing(one)
        for position in range(1, mass.shape[1]):
            found = [interval(mass[:, position, layer]) for layer in range(mass.shape[2])]
            panel.errorbar(np.arange(1, len(found) + 1) + 0.06 * (position - 3),
                           [layer.mean for layer in found],
                           yerr=[layer.upper - layer.mean for layer in found], color=COLOURS[position],
                           marker=MARKERS[position], markersize=4, capsize=2, linewidth=1,
                           label='%d: %s' % (position, COMMON[position]))
        panel.axhline(0.5, color='#777777', linewidth=0.7)
        panel.set(xlabel='convolution layer', title=_model(one), xticks=range(1, mass.shape[2] + 1))
    axes[0, 0].set_ylabel('posterior mass on sharing')
    axes[0, -1].legend(fontsize=6, title='task: common with earlier ones', title_fontsize=6)
    figure.savefig(path, dpi=150)
    close(figure)


def searches_of(group):
    """The experiments of a group whose patterns are told: LASEM on all tasks in their own order."""
    return [one for one in _searches(group) if all(list(order) == NATURAL for order in one.orders)]


def _searches(group):
    return [one for name in MECHANISMS for one in group.members if _model(one) == 'LASEM_' + name]


def searches_to_plot(groups):
    """The experiments of the only group that has some to plot; a UserError without exactly one such group."""
    found = [group for group in groups if searches_of(group)]
    if not found:
        raise UserError('no LASEM is trained yet on %s; scripts/study.sh trains it' % ALL_TASKS)
    if len(found) > 1:
        raise UserError('one picture shows experiments on the same data, but there are %d groups (%s); train '
                        'each with a --result_dir of its own' % (len(found), '; '.join(map(title, found))))
    return searches_of(found[0])


def title(group):
    """What the data of a group are, with their options as far as config.json tells."""
    options = group.members[0].config.get('experiment', {}).get('data_options', {})
    return ', '.join([group.title] + ['%s %s' % pair for pair in sorted(options.items())])


def tell(group):
    """Prints what a group of experiments says."""
    print('LASEM, final average test accuracy minus that of ..., %d simultaneous 95 %% intervals:' % PRIMARY)
    compared = primary(group.members)
    for mechanism, against, pattern, found in compared:
        print('  %-6s %-24s %-5s %s  %d trials' % (mechanism, against, pattern, _shown(found), found.n))
    if not compared:
        print('  none is trained yet')
    told = searches_of(group)
    for one in told:
        print('%s: posterior mass on sharing, input side first; last, first layers minus last layers:'
              % _model(one))
        for line in lines_of_sharing(one):
            print(line)
        for what, found in contrasts(one).items():
            print('  %-60s %s' % (what, _shown(found)))
    if len(told) < len(_searches(group)):
        print('What the patterns follow is left out: it is known for %s.' % ALL_TASKS)


def _picture(text):
    """The argument of --plot."""
    if not text.lower().endswith(PICTURES):
        raise argparse.ArgumentTypeError('%s: a name that ends with %s is needed'
                                         % (text, ', '.join(PICTURES[:-1]) + ' or ' + PICTURES[-1]))
    return path_argument(text)


def main():
    """Command line."""
    parser = Parser(description=__doc__.split('\n')[0])
    parser.add_argument('--result_dir', type=path_argument, default='Result',
                        help='where study.sh wrote (default: %(default)s)')
    parser.add_argument('--plot', type=_picture, metavar='PATH',
                        help='draw the mass on sharing into this PNG, SVG or PDF file')
    flags = parser.parse_args()
    try:
        groups = groups_of_garments(flags.result_dir)
    except UserError as error:
        sys.exit(tell_error(error))
    if flags.plot:
        try:
            check_matplotlib()
            plot(searches_to_plot(groups), flags.plot)
        except UserError as error:
            sys.exit(tell_error('--plot %s: %s' % (flags.plot, error)))
        except OSError as error:
            sys.exit(tell_error('--plot %s cannot be written: %s' % (flags.plot, error.strerror or error)))
    for number, group in enumerate(groups, 1):
        if len(groups) > 1:
            print('%sData %d: %s' % ('\n' * (number > 1), number, title(group)))
        tell(group)


if __name__ == '__main__':
    run_command(main)
