"""Result files -> tables, plots, one HTML page: python3 -m utils.report Result/*.mat

Nothing here imports TensorFlow, and matplotlib only what makes plots.
"""
import os
import shlex
import sys

from classification.experiment.flags import PLUGIN, Parser, load_plugins
from classification.report.disparity import disparities
from classification.report.figures import check_matplotlib
from classification.report.groups import read_groups
from classification.report.statistics import check_baseline, compare
from utils.paths import path_argument
from utils.utils import UserError, show, tell_error, write_atomically

ENDINGS = {'text': 'txt', 'csv': 'csv', 'latex': 'tex', 'html': 'html'}
COMMAND = 'python3 -m utils.report'


def command_for(path):
    """The command that reports on a result file, for the current folder."""
    project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    away = '' if os.path.realpath(os.getcwd()) == os.path.realpath(
        project) else 'PYTHONPATH=%s ' % shlex.quote(project)
    return '%s%s %s' % (away, COMMAND, shlex.quote(path))


def parser(argv=()):
    """The command line, whose plug-ins are loaded."""
    load_plugins(argv)
    made = Parser(prog=COMMAND, allow_abbrev=False,
                  description='Tables and plots of result files. Experiments on the '
                   'same data (set, size, order of tasks, seed) are compared with each other.')
    made.add_argument('files', type=path_argument, nargs='+', metavar='FILE.mat',
                      help='result files, also temp_NAME.mat and those of the authors\' release')
    made.add_argument('--out', type=path_argument, default=None, metavar='DIR',
                      help='write the report there, and the plots as PNG and SVG (html holds them itself); '
                           'default: print it; for html: report')
    made.add_argument('--format', choices=sorted(ENDINGS), default='text',
                      help='of the report; default: %(default)s')
    made.add_argument('--baseline', default=None, metavar='METHOD',
                      help='the method, by its label or model type, that the others are compared with; '
                           'default: STL if there is one')
    made.add_argument('--plugin', **PLUGIN)
    made.add_argument('--assume_same_data', action='store_true',
                      help='compare files of the authors\' release, which do not say what data they used, '
                           'where image sizes and orders of tasks agree; default: each stands alone')
    return made


def main(argv=None):
    """Runs the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        flags = parser(argv).parse_args(argv)
        groups, notes = read_groups(flags.files, flags.assume_same_data)
        check_baseline(groups, flags.baseline)
        comparisons = [compare(group, flags.baseline) for group in groups]
        out = flags.out or ('report' if flags.format == 'html' else None)
        content = _content(flags.format, comparisons, notes, disparities(groups),
                           ' '.join([COMMAND] + [shlex.quote(one) for one in argv]))
        if out is None:
            sys.stdout.write(content)
        else:
            _write(out, flags.format, content, comparisons)
        return 0
    except UserError as error:
        return tell_error(error)


def _content(kind, comparisons, notes, of_orders, command):
    if kind == 'html':
        check_matplotlib()
        from classification.report.page import page
        return page(comparisons, notes, command, of_orders)
    from classification.report import tables
    return {'text': tables.text, 'csv': tables.as_csv, 'latex': tables.latex}[kind](
        comparisons, notes, of_orders)


def _write(out, kind, content, comparisons):
    """Writes the report, and the plots that it does not hold itself; says what was written."""
    path, plots = os.path.join(out, 'report.' + ENDINGS[kind]), os.path.join(out, 'plots')
    try:
        os.makedirs(out if kind == 'html' else plots, exist_ok=True)
        write_atomically(path, content)
        show('written: %s' % path)
        if kind != 'html':
            show('plots: %d as PNG and SVG in %s' % (_write_plots(plots, comparisons), plots))
    except OSError as error:
        raise UserError('--out %s cannot be written: %s' % (out, error.strerror or error)) from error


def _write_plots(folder, comparisons):
    """Returns how many."""
    check_matplotlib()
    from classification.report import figures, plots
    count = 0
    for number, comparison in enumerate(comparisons, 1):
        prefix = 'data%d_' % number if len(comparisons) > 1 else ''
        sources = [(prefix, plots.plots_of_group(comparison))]
        sources += [(prefix + _file_name(one.label) + '_', plots.plots_of(one))
                    for one in comparison.group.members]
        for start, made in sources:
            for what, _, figure in made:
                figures.save(figure, os.path.join(folder, start + what))
                figures.close(figure)
                count += 1
    return count


def _file_name(label):
    return ''.join(sign if sign.isalnum() or sign in '.-' else '_' for sign in label)

