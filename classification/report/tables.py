"""The report as text, CSV and LaTeX."""
import csv
import io

import numpy as np

from classification.report import disparity
from classification.report.statistics import CONFIDENCE, METRICS, correction
from utils.utils import plural

MISSING = '-'
# Columns of each LaTeX table, few enough for a column of text.
_LATEX_TABLES = (('peak', 'final', 'incremental'), ('transfer', 'forgetting', 'ratio'),
                 ('peak_gain', 'final_gain', 'time', 'parameters'), ('no_identity', 'right_task'),
                 ('trained', 'state', 'multiply_adds'), ('memory', 'steps', 'evaluation'))


def shown(value, digits):
    """A number as the report prints it; '-' where undefined."""
    if np.isnan(value):
        return MISSING
    return '{:,.0f}'.format(value) if digits == '%d' else digits % value


def shown_summary(summary, digits):
    """'0.9500 (0.0100)': mean and sample standard deviation; the value alone of one trial."""
    return shown(summary.mean, digits) + ('' if np.isnan(summary.std) else ' (%s)'
                                          % shown(summary.std, digits))


def shown_interval(difference, digits):
    """'[-0.0100, 0.0300]'."""
    if np.isnan(difference.lower):
        return MISSING
    return '[%s, %s]' % (shown(difference.lower, digits), shown(difference.upper, digits))


def aligned(rows, indent='  '):
    """Lines of a table whose columns are aligned."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return [(indent + '  '.join(cell.ljust(width) for cell, width in zip(row, widths))).rstrip()
            for row in rows]


def text(comparisons, notes, disparities=()):
    """The report to read on a screen: a table per metric, its definition above it.

    Args:
        comparisons: list of Comparison.
        notes: on the files.
        disparities: list of disparity.Disparity.
    """
    lines = []
    for comparison in comparisons:
        lines += ['== %s: %s' % (comparison.group.title, plural(len(comparison.rows), 'experiment'))]
        lines += [comparison.group.composition] if comparison.group.composition else []
        lines += ['Note: ' + note for note in comparison.notes]
        lines += [correction(comparison) + '.'] if comparison.has_intervals else []
        for name, metric in comparison.metrics.items():
            lines += ['', '%s: %s' % (metric.title, metric.definition)] + aligned(
                _text_rows(comparison, name, metric))
        lines += ['', 'files:'] + aligned([(one.label, one.path) for one in comparison.group.members]) + ['']
    if disparities:
        lines += ['== %s: %s' % (disparity.TITLE, disparity.DEFINITION)] + aligned(
            [DISPARITY_COLUMNS] + disparity_rows(disparities)) + ['']
    return '\n'.join(lines + ['Note: ' + note for note in notes]).rstrip() + '\n'


DISPARITY_COLUMNS = ('method', 'data', 'orders', 'trials', 'AOPD', 'MOPD', 'tasks')


def disparity_rows(disparities):
    """Cells under DISPARITY_COLUMNS."""
    return [(one.label, one.data, str(one.orders), str(one.trials), shown(one.aopd, '%.4f'),
             shown(one.mopd, '%.4f'), '  '.join('%d: %s' % (task, shown(value, '%.4f'))
                                                for task, value in one.of_tasks.items()))
            for one in disparities]


def _text_rows(comparison, name, metric):
    differences = comparison.baseline is not None and metric.compared
    rows = [['method', 'mean', 'sample std', 'n'] + (
        ['difference to ' + comparison.baseline, '95 % interval', 'pairs'] if differences else [])]
    for row in comparison.rows:
        summary, cells = row.summaries[name], []
        if differences and name in row.differences:
            difference = row.differences[name]
            cells = [shown(difference.mean, metric.digits), shown_interval(difference, metric.digits),
                     str(difference.n)]
        elif differences:
            cells = [MISSING, 'baseline', MISSING]
        rows.append([row.marked, shown(summary.mean, metric.digits), shown(summary.std, metric.digits),
                     str(summary.n)] + cells)
    return rows


CSV_COLUMNS = ('data', 'method', 'metric', 'definition', 'mean', 'sample_std', 'n', 'baseline',
               'difference_to_baseline',
               'interval_lower', 'interval_upper', 'pairs', 'confidence', 'correction', 'compared_methods',
               'file', 'experiment_in_file', 'marks')


def as_csv(comparisons, notes=(), disparities=()):
    """The report in long form, a row per experiment and metric; an undefined number is an empty cell.

    Of a disparity `n` is the number of orders.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow(CSV_COLUMNS)
    for comparison in comparisons:
        for one, row in zip(comparison.group.members, comparison.rows):
            for name, metric in comparison.metrics.items():
                summary, difference = row.summaries[name], row.differences.get(name)
                cells = [comparison.group.title, row.label, metric.title, metric.definition]
                cells += [_number(summary.mean), _number(summary.std), summary.n]
                cells += [''] * 8 if difference is None else [
                    comparison.baseline, _number(difference.mean), _number(difference.lower),
                    _number(difference.upper), difference.n, CONFIDENCE, 'Bonferroni', comparison.compared]
                marks = '; '.join('%s: %s' % mark for mark in row.marks)
                writer.writerow(cells + [one.path, one.number, marks])
    for one in disparities:
        for name, value in [('AOPD', one.aopd), ('MOPD', one.mopd)] + [
                ('OPD of task %d' % task, value) for task, value in one.of_tasks.items()]:
            writer.writerow([one.data, one.label, name, '%s: %s' % (disparity.TITLE, disparity.DEFINITION),
                             _number(value), '', one.orders] + [''] * 8 + ['; '.join(one.files), '', ''])
    return stream.getvalue()


def _number(value):
    return '' if np.isnan(value) else repr(float(value))


def latex(comparisons, notes=(), disparities=()):
    r"""The report as tables for a paper, which wants \usepackage{booktabs}."""
    lines = [r'% Needs \usepackage{booktabs}.'] + ['%% Note: %s' % note for note in notes]
    for number, comparison in enumerate(comparisons, 1):
        if comparison.group.composition:
            lines.append('%% Note: %s; %s' % (comparison.group.title, comparison.group.composition))
        tables = [names for names in _LATEX_TABLES if set(names) <= set(comparison.metrics)]
        for part, names in enumerate(tables, 1):
            lines += _latex_summaries(comparison, names, 'tab:lifelong%d-%d' % (number, part))
            if comparison.baseline and METRICS[names[0]].compared:
                lines += _latex_differences(comparison, names, 'tab:lifelong%d-%d-differences'
                                            % (number, part))
    if disparities:
        lines += _latex_table([list(DISPARITY_COLUMNS)] + [
            list(row) for row in disparity_rows(disparities)],
            _escaped('%s: %s.' % (disparity.TITLE, disparity.DEFINITION)), 'tab:orders')
    return '\n'.join(lines) + '\n'


def _latex_summaries(comparison, names, label):
    cells = [[row.marked] + [shown_summary(row.summaries[name], METRICS[name].digits) for name in names] + [
        str(max(row.summaries[name].n for name in METRICS))] for row in comparison.rows]
    caption = '%s. %s. Mean over $n$ trials, in brackets the sample standard deviation.' % (
        _escaped(comparison.group.title), _definitions(names))
    if comparison.notes:
        caption += ' ' + ' '.join(map(_escaped, comparison.notes))
    return _latex_table([[''] + [METRICS[name].short for name in names] + ['$n$']] + cells, caption, label)


def _latex_differences(comparison, names, label):
    cells = []
    for row in comparison.rows:
        if row.differences:
            cells.append([row.marked] + ['%s %s' % (
                shown(row.differences[name].mean, METRICS[name].digits),
                shown_interval(row.differences[name], METRICS[name].digits)) for name in names] + [
                    str(max(difference.n for difference in row.differences.values()))])
    caption = '%s. Difference to %s, mean over $n$ pairs of trials%s. %s.' % (
        _escaped(comparison.group.title), _escaped(comparison.baseline),
        _escaped('. In square brackets the ' + correction(comparison) if comparison.has_intervals else ''),
        _definitions(names))
    return _latex_table([[''] + [METRICS[name].short for name in names] + ['$n$']] + cells, caption, label)


def _definitions(names):
    return _escaped('. '.join('%s: %s' % (METRICS[name].short, METRICS[name].definition) for name in names))


def _latex_table(rows, caption, label):
    lines = [' & '.join(_latex_cell(cell) for cell in row) + r' \\' for row in rows]
    return ['', r'\begin{table}', r'\centering\footnotesize', r'\caption{%s}' % caption, r'\label{%s}'
            % label, r'\begin{tabular}{l%s}' % ('r' * (len(rows[0]) - 1)), r'\toprule', lines[0], r'\midrule'
            ] + lines[1:] + [r'\bottomrule', r'\end{tabular}', r'\end{table}']


def _latex_cell(cell):
    """A number's minus is a minus; '$n$' is mathematics."""
    return cell if cell.startswith('$') else _escaped(cell).replace('-0.',
                                                                    '$-$0.') if cell != MISSING else '--'


def _escaped(value):
    r"""Text without LaTeX's own signs."""
    return ''.join({'\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}',
                    '<': r'\textless{}',
                    '>': r'\textgreater{}'}.get(sign, '\\' + sign if sign in '_%&#${}' else sign)
                   for sign in value)
