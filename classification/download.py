"""Fetches a data set's original files: python3 -m classification.download NAME. See data/download.py."""
from collections import OrderedDict

from classification.data.download import fetch
from classification.experiment.flags import PLUGIN, Parser, load_plugins
from classification.gen_data import DATASETS
from utils.paths import path_argument
from utils.utils import UserError, run_command, show, tell_error, without_credentials


def main(argv=None):
    """Runs the command line; returns the exit status."""
    try:
        load_plugins(argv)
    except UserError as error:
        return tell_error(error)
    sources = OrderedDict((dataset.source.name, dataset.source) for dataset in DATASETS.values())
    sources.update((name.lower(), dataset.source) for name, dataset in DATASETS.items())
    parser = Parser(prog='python3 -m classification.download', allow_abbrev=False,
                    description='Fetches a data set\'s original files, checked against the published checksums.')
    parser.add_argument('name', metavar='NAME', type=str.lower, choices=sorted(sources),
                        help='of the data set, or a --data_type: %s' % ', '.join(sorted(sources)))
    parser.add_argument('--data_dir', type=path_argument, default='Data', help='where to (default: %(default)s)')
    parser.add_argument('--archive', type=path_argument, nargs='+', default=(), metavar='FILE',
                        help='already downloaded: checked and unpacked, without network')
    parser.add_argument('--quiet', action='store_true', help='print errors only')
    parser.add_argument('--plugin', **PLUGIN)
    flags = parser.parse_args(argv)
    try:
        fetch(sources[flags.name], flags.data_dir, (lambda line: None) if flags.quiet else _say, flags.archive,
              bar=not flags.quiet)
        return 0
    except UserError as error:
        return tell_error(error)


def _say(line):
    show(without_credentials(line))


if __name__ == '__main__':
    run_command(main, 'interrupted; the same command goes on where it stopped\n')
