"""Fetches a data set's original files: python3 -m classification.download NAME. See data/download.py."""
from collections import OrderedDict

from classification.data.download import fetch
from classification.experiment.flags import PLUGIN, Parser, load_plugins
from classification.gen_data import DATASETS
from utils.paths import path_argument
from utils.utils import UserError, run_command, show, tell_error, without_credentials


def parser(argv=()):
    """The command line, whose plug-ins are loaded."""
    load_plugins(argv)
    names = ', '.join(sorted(_sources()))
    made = Parser(prog='python3 -m classification.download', allow_abbrev=False,
                  description='Fetches a data set\'s original files and checks them against known sums.')
    made.add_argument('name', metavar='NAME', type=str.lower, choices=sorted(_sources()),
                      help='of the data set, or a --data_type: %s' % names)
    made.add_argument('--data_dir', type=path_argument, default='Data',
                      help='where to (default: %(default)s)')
    made.add_argument('--archive', type=path_argument, nargs='+', default=(), metavar='FILE',
                      help='already downloaded: checked and unpacked, without network')
    made.add_argument('--quiet', action='store_true', help='print errors only')
    made.add_argument('--plugin', **PLUGIN)
    return made


def _sources():
    """dict name of a data set, or data type in small letters -> its Source;
    one's own images are there already."""
    fetched = [(name, dataset.source) for name, dataset in DATASETS.items() if dataset.source.fetched]
    sources = OrderedDict((source.name, source) for _, source in fetched)
    sources.update((name.lower(), source) for name, source in fetched)
    return sources


def main(argv=None):
    """Runs the command line; returns the exit status."""
    try:
        flags = parser(argv).parse_args(argv)
        fetch(_sources()[flags.name], flags.data_dir, (lambda line: None) if flags.quiet else _say,
              flags.archive, bar=not flags.quiet)
        return 0
    except UserError as error:
        return tell_error(error)


def _say(line):
    show(without_credentials(line))


if __name__ == '__main__':
    run_command(main, 'interrupted; the same command goes on where it stopped\n')
