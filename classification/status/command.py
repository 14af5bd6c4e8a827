"""How far the experiments of a batch are: python3 -m utils.status [Result/ ...]

Reads the folders of the experiments, and nothing here imports TensorFlow, trains or waits.
"""
import sys
import time

from classification.experiment.flags import PLUGIN, Parser, load_plugins
from classification.status.batch import batch_text
from classification.status.experiments import experiments_below
from classification.status.tables import FORMATS, exit_states
from utils.paths import path_argument
from utils.utils import OutputError, UserError, at_least, error_text, printable_line, tell_error

COMMAND = 'python3 -m utils.status'
COMMANDS = '--commands'              # of a script; scripts/batch.sh calls this with them on stdin
LONGEST_WAIT = 86400                 # of --watch, in seconds
CLEAR = '\033[H\033[J'


def parser(argv=()):
    """The command line, whose plug-ins are loaded."""
    load_plugins(argv)
    made = Parser(prog=COMMAND, allow_abbrev=False,
                  description='How far experiments are: which trials are finished, run, were interrupted, '
                   'failed, or have had no heartbeat for ten minutes. Exit status: 0 all are finished, 1 '
                   'something failed or is stale, 75 something is still to do.')
    made.add_argument('paths', type=path_argument, nargs='*', metavar='PATH', default=['Result'],
                      help='result folders, Result/NAME, Result/NAME.mat or run folders; default: Result')
    made.add_argument('--format', choices=sorted(FORMATS), default='text',
                      help='of what is shown; default: %(default)s')
    made.add_argument('--watch', type=at_least(1, LONGEST_WAIT), default=None, metavar='SECONDS',
                      help='on a terminal: show the state again every SECONDS until Ctrl-C; default: once')
    made.add_argument('--plugin', **PLUGIN)
    return made


def main(argv=None):
    """Runs the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv == [COMMANDS]:
            return _show(*batch_text(sys.stdin.buffer.read()))
        flags = parser(argv).parse_args(argv)
        if flags.watch is None:
            return _show(*_state(flags.paths, flags.format))
        if not sys.stdout.isatty():
            raise UserError('--watch %d: standard output is no terminal; leave --watch away' % flags.watch)
        while True:
            content, status = _state(flags.paths, flags.format)
            _show('%s%s%s, every %d s; Ctrl-C ends\n' % (
                CLEAR, content, time.strftime('%H:%M:%S'), flags.watch), status)
            sys.stdout.flush()
            time.sleep(flags.watch)
    except UserError as error:
        return tell_error(error)
    except (BrokenPipeError, OutputError):      # run_command sees to it
        raise
    except OSError as error:        # without permission, or gone meanwhile
        return tell_error('%s; a folder that can be read is needed' % error_text(error))


def _state(paths, kind):
    """(text, exit status)."""
    found = experiments_below(paths or ['Result'], lambda line: sys.stderr.write(printable_line(line) + '\n'))
    return FORMATS[kind](found), exit_states([one.state for one in found])


def _show(content, status):
    sys.stdout.write(content)
    return status
