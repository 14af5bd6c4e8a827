"""The report as one HTML page that needs no other file and no network: tables that sort, plots, and what was
run."""
import base64
import html

import numpy as np

from classification.report import disparity, figures, plots
from classification.report.marks import marks_of
from classification.report.statistics import METRICS, correction
from classification.report.tables import DISPARITY_COLUMNS, MISSING, disparity_rows, shown, shown_interval
from classification.results import origin
from utils.utils import plural, without_credentials

STYLE = '''
body { font: 15px/1.45 sans-serif; color: #111; background: #fff; margin: 1.5em auto; max-width: 76em; padding: 0 1em }
h1, h2, h3 { line-height: 1.2 } h2 { border-bottom: 2px solid #444; margin-top: 2em }
table { border-collapse: collapse; margin: .6em 0 } .wide { overflow-x: auto }
th, td { padding: .25em .6em; border-bottom: 1px solid #ccc; text-align: right; vertical-align: top; font-variant-numeric: tabular-nums }
th:first-child, td:first-child, .facts td { text-align: left } .facts td { overflow-wrap: anywhere } .facts th { text-align: left; white-space: nowrap }
.sortable th { cursor: pointer; vertical-align: bottom } .sortable td { white-space: nowrap } .sortable th::after { content: ' \\2195'; color: #888 }
.sortable th[aria-sort=ascending]::after { content: ' \\2191'; color: #111 } .sortable th[aria-sort=descending]::after { content: ' \\2193'; color: #111 }
.std { color: #555 } figure { margin: 1em 0; display: inline-block; vertical-align: top; max-width: 100% } img { max-width: 100%; height: auto }
figcaption { max-width: 46em; color: #333; font-size: .9em } .note { background: #f3f0d8; padding: .3em .6em }
.mark { background: #f6d5c9; padding: 0 .3em; font-size: .9em } code { overflow-wrap: anywhere }
'''

# A click on a heading sorts; the page counts what failed to load, for whoever checks it.
SCRIPT = '''
var page = document.documentElement;
page.dataset.errors = 0;
window.addEventListener('error', function () { page.dataset.errors++; });
window.addEventListener('load', function () {
  page.dataset.images = document.images.length;
  page.dataset.failed = Array.prototype.filter.call(document.images, function (image) { return !image.naturalWidth; }).length;
});
document.addEventListener('click', function (event) {
  var heading = event.target.closest('.sortable th');
  if (!heading) return;
  var up = heading.getAttribute('aria-sort') === 'descending', place = heading.cellIndex;
  heading.parentNode.querySelectorAll('th').forEach(function (other) { other.removeAttribute('aria-sort'); });
  heading.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  var body = heading.closest('table').tBodies[0], rows = Array.prototype.slice.call(body.rows);
  rows.sort(function (one, other) {
    var a = one.cells[place].dataset.value, b = other.cells[place].dataset.value;
    if (a === '' || b === '') return (a === '') - (b === '');
    var order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return up ? order : -order;
  });
  rows.forEach(function (row) { body.appendChild(row); });
});
'''


def page(comparisons, notes, command, disparities=()):
    """The whole page.

    Args:
        comparisons: list of Comparison.
        notes: on the files.
        command: that made the report.
        disparities: list of disparity.Disparity.
    Returns:
        str.
    """
    parts = ['<!DOCTYPE html>',
             '<html lang="en"><head><meta charset="utf-8"><title>Lifelong learning: report</title>',
             '<meta name="viewport" content="width=device-width">',
             '<style>%s</style><script>%s</script></head><body>' % (STYLE, SCRIPT),
             '<h1>Lifelong learning: report</h1>',
             '<p>Made by <code>%s</code>. A click on a heading sorts its table.</p>'
             % _text(command)] + _notes(notes)
    if len(comparisons) > 1:
        parts.append('<ul>%s</ul>' % ''.join('<li><a href="#group%d">%s</a>, %s</li>' % (
            number, _text(comparison.group.title), plural(len(comparison.rows), 'experiment'))
            for number, comparison in enumerate(comparisons)))
    parts += _definitions(comparisons)
    for number, comparison in enumerate(comparisons):
        parts += _group(number, comparison)
    if disparities:
        parts += ['<h2>Order-normalised performance disparity</h2>',
                  '<p>%s: %s.</p>' % (_text(disparity.TITLE), _text(disparity.DEFINITION))]
        parts += _sortable([(name, '') for name in DISPARITY_COLUMNS],
                           [[_cell(_text(cell), cell) for cell in row]
                            for row in disparity_rows(disparities)])
    return '\n'.join(parts + ['</body></html>']) + '\n'


def _text(value):
    return html.escape(str(value))


def _notes(notes):
    return ['<p class="note">%s</p>' % _text(note) for note in notes]


def _definitions(comparisons):
    shown_names = {name for comparison in comparisons for name in comparison.metrics}
    rows = ['<tr><th>%s</th><td>%s</td></tr>' % (_text(metric.title), _text(metric.definition))
            for name, metric in METRICS.items() if name in shown_names]
    return ['<h2>What the numbers are</h2>', '<table class="facts">'] + rows + ['</table>',
            '<p>Accuracies are shares of test images, from 0 to 1. In brackets: the sample standard '
            'deviation over n trials.</p>']


def _group(number, comparison):
    parts = ['<h2 id="group%d">%s</h2>' % (number, _text(comparison.group.title))]
    parts += _notes([comparison.group.composition] if comparison.group.composition else []) + _notes(
        comparison.notes)
    parts += ['<h3>Methods</h3>'] + _summaries(comparison)
    if comparison.baseline:
        parts += ['<h3>Differences to %s</h3>' % _text(comparison.baseline)] + _differences(comparison)
        if comparison.has_intervals:
            parts.append('<p>In brackets: %s.</p>' % _text(correction(comparison)))
    parts += _figures(plots.plots_of_group(comparison))
    for one in comparison.group.members:
        parts += ['<h3>%s</h3>' % _text(one.label)] + _facts(one) + _figures(plots.plots_of(one))
    return parts


def _cell(content, value, title=''):
    """A table cell that sorts by its value; '' sorts last."""
    value = '' if isinstance(value, float) and np.isnan(value) else value
    return '<td data-value="%s"%s>%s</td>' % (_text(value), ' title="%s"' % _text(title) if title else '',
                                              content)


def _method(row):
    """The cell of a method's name and marks."""
    return _cell(_text(row.label) + ''.join('<br><span class="mark" title="%s">%s</span>' % (
        _text(mark.explanation), _text(mark.name)) for mark in row.marks), row.label)


def _sortable(headings, rows):
    head = ''.join('<th title="%s">%s</th>' % (_text(definition), _text(title)) for title,
                   definition in headings)
    return ['<div class="wide"><table class="sortable"><thead><tr>%s</tr></thead><tbody>' % head] + [
        '<tr>%s</tr>' % ''.join(row) for row in rows] + ['</tbody></table></div>']


def _summaries(comparison):
    rows = []
    for row in comparison.rows:
        cells = [_method(row)]
        for name, metric in comparison.metrics.items():
            summary = row.summaries[name]
            std = '' if np.isnan(summary.std) else '<br><span class="std">(%s)</span>' % shown(
                summary.std, metric.digits)
            cells.append(_cell(shown(summary.mean, metric.digits) + std, summary.mean,
                               'n = %d' % summary.n if summary.n else 'not in the file, or undefined'))
        rows.append(cells + [_cell(str(row.summaries['final'].n), row.summaries['final'].n)])
    return _sortable([('method', '')] + [(metric.title, metric.definition)
                                         for metric in comparison.metrics.values()] + [('n', 'trials')], rows)


def _differences(comparison):
    names = [name for name, metric in comparison.metrics.items() if metric.compared]
    rows = []
    for row in comparison.rows:
        if row.differences:
            cells = [_method(row)]
            for name in names:
                difference, digits = row.differences[name], METRICS[name].digits
                bounds = shown_interval(difference, digits)
                cells.append(_cell(shown(difference.mean, digits)
                                   + ('' if bounds == MISSING else '<br>' + bounds),
                                   difference.mean, plural(difference.n, 'pair')))
            pairs = max(difference.n for difference in row.differences.values())
            rows.append(cells + [_cell(str(pairs), pairs)])
    return _sortable([('method', '')] + [(METRICS[name].title, METRICS[name].definition) for name in names]
                     + [
        ('pairs', 'trials that both have')], rows)


def _figures(drawn):
    parts = []
    for name, caption, figure in drawn:
        content = base64.b64encode(figures.image(figure, 'svg')).decode('ascii')
        width = figure.get_size_inches()[0] * 96
        figures.close(figure)
        parts.append(
            '<figure><img alt="%s" width="%d" '
            'src="data:image/svg+xml;base64,%s"><figcaption>%s</figcaption></figure>' % (
            _text(caption), width, content, _text(caption)))
    return parts


def _facts(one):
    """What was run: command, seed, versions, checksums, origins."""
    result, config = one.result, one.config
    rows = [(mark.name, mark.explanation) for mark in marks_of(one)]
    rows += [('file', '%s, experiment %d' % (one.path, one.number)),
             ('command', without_credentials(str(result.get('command', config.get('command')) or ''))),
             ('seed', result.get('seed')), ('trials', ' '.join(map(str, one.trials))),
             ('versions', _listed(dict(config.get('versions') or {}, **(result.get('versions') or {})))),
             ('data folder', result.get('data_folder')), ('fingerprint', result.get('fingerprint'))]
    rows += [('origin of trial %d' % number, '; then '.join(map(origin.in_words, stretches)) or 'unknown')
             for number, stretches in origin.from_entry(result).items()]
    if config:
        rows += [('data checksums', _listed(config.get('experiment', {}).get('checksums') or {})),
                 ('git commit, last command', config.get('git_commit')),
                 ('machine, last command', _listed(config.get('host') or {}))]
    else:
        rows.append(('data checksums', 'no config.json of this experiment lies beside the file'))
    cells = ['<tr><th>%s</th><td>%s</td></tr>' % (
        _text(name), '<code>%s</code>' % _text(value) if name == 'command' and value
        else _text(_or_missing(value)))
        for name, value in rows]
    return ['<table class="facts">'] + cells + ['</table>']


def _or_missing(value):
    return 'not in the file' if value is None or isinstance(value, str) and not value else value


def _listed(facts):
    """'numpy 1.16.6, python 3.7.16': nested dicts in one line."""
    return ', '.join('%s %s' % (name, '(%s)' % _listed(value) if isinstance(value, dict) else value)
                     for name, value in facts.items() if value is not None)
