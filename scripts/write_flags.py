"""Writes docs/flags.md from the declarations: every flag of the commands, and every option of --set.

    python3 scripts/write_flags.py       the tests say when the page is out of date
"""
import os
import re
import sys
from collections import OrderedDict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from classification import download, gen_data, predict  # noqa: E402
from classification.experiment import flags  # noqa: E402
from classification.model.registry import MECHANISMS, METHODS  # noqa: E402
from classification.report import command as report  # noqa: E402
from classification.status import command as status  # noqa: E402
from utils.utils_env_cl import listed  # noqa: E402

PAGE = os.path.join(ROOT, 'docs', 'flags.md')
INTRODUCTION = '''# Which flags are there, and what is the default of each?

This page is written by `python3 scripts/write_flags.py` from the program itself, so it is complete.
`python3 main.py --help` prints the same on the screen, and `python3 main.py --list` the names of data sets,
methods and transfer configurations.

A flag that has no effect on what you ask for is named in one line: `--em_maxP is ignored: Hybrid_HPS does not
use it`. A flag that does not exist, or a value that is not possible, is an error in one line.

## `main.py`

`python3 main.py FLAGS` trains one experiment.
'''
OPTIONS = '''## Options of methods: `--set NAME=VALUE`

Every method has options. Some have a flag of their own; all can be set with `--set NAME=VALUE`, which may be
repeated. "By table" means that the published tables choose the default by data set, depth or `--test_type`;
`--dry_run` prints the value.
'''
COMMANDS = [('python3 -m utils.report', 'makes tables and plots of result files: [results.md](results.md).',
             report.parser),
            ('python3 -m utils.status',
             'shows how far experiments are: [scaling.md](scaling.md#how-far-is-it).',
             status.parser),
            ('python3 -m classification.download', 'fetches a data set: [Data/README.md](../Data/README.md).',
             download.parser),
            ('python3 -m classification.predict',
             'classifies images with a trained network: [own_images.md](own_images.md#prediction).',
             predict.parser)]


def page():
    """The text of docs/flags.md."""
    lines = INTRODUCTION.splitlines() + ['']
    for group in flags.parser()._action_groups:
        rows = [_flag_row(action) for action in group._group_actions if action.option_strings
                and action.dest != 'help']
        if rows:
            lines += ['### %s' % group.title[0].upper() + group.title[1:], '']
            lines += [group.description[0].upper() + group.description[1:] + '.',
                      ''] if group.description else []
            lines += _table(('flag', 'default', 'meaning'), rows)
    lines += OPTIONS.splitlines() + ['']
    for name, options in _options().items():
        lines += ['### `%s`' % name, '']
        lines += _table(('option', 'flag', 'default', 'value', 'meaning'),
                        [_option_row(one) for one in options])
    for name, purpose, parser in COMMANDS:
        lines += ['## `%s`' % name, '', '`%s` %s' % (name, purpose), '']
        lines += _table(('flag', 'default', 'meaning'), [
            _flag_row(action) for action in parser()._actions if action.dest != 'help'])
    return '\n'.join(lines).rstrip() + '\n'


def _options():
    """OrderedDict name of a mechanism, selection, method or data set -> its options, if it has any."""
    found = OrderedDict()
    for declared in list(MECHANISMS.values()) + list(METHODS.values()):
        if declared.options:
            found.setdefault(declared.name, []).extend(declared.options)
    found.update((name, dataset.options) for name, dataset in gen_data.DATASETS.items() if dataset.options)
    return found


def _table(heads, rows):
    lines = ['| %s |' % ' | '.join(cells) for cells in [heads] + [[cell.replace('|', '\\|') for cell in row]
                                                                  for row in rows]]
    return lines[:1] + ['|' + '---|' * len(heads)] + lines[1:] + ['']


def _flag_row(action):
    words = _with_code((action.help or '') % dict(vars(action), prog=''))
    text, default = re.match(r'(.*?)(?:;? \(?default: (.*?)\)?)?$', words).groups()
    name = ' '.join(action.option_strings[:1] + ([_value(action)] if action.nargs != 0 else []))
    if action.nargs == 0 or default is None:
        default = 'off' if action.nargs == 0 else ''
    return '`%s`' % name.strip(), default, text


def _with_code(text):
    """Flags and file names in the type of code."""
    return re.sub(r'(?<![\w`/])(--[a-z]\w+|docs/\w+\.md|temp_NAME\.mat)', r'`\1`', text)


def _value(action):
    if action.choices and len(action.choices) < 6:
        return ' or '.join(map(str, action.choices))
    return action.metavar or ('N' if action.type in (int, float) else 'VALUE')


def _option_row(option):
    default = option.default
    default = 'by table' if callable(default) else 'none' if default is None else (
        listed(default) if isinstance(default, tuple) else '%g' % default if isinstance(default, float)
        else str(default))
    return ('`%s`' % option.name, '`--%s`' % option.flag if option.flag else '', default,
            option.check.needed.rstrip(','),
            _with_code(re.sub(r'^[\w-]+: | \(default: .*\)$', '', option.help)))


def main():
    with open(PAGE, 'w') as stream:
        stream.write(page())


if __name__ == '__main__':
    main()
