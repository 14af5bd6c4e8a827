"""Where words go: training never ends because nobody can hear of it; what is asked for as output says when it
is lost."""
import os
import pty
import subprocess
import sys

import pytest

import main
from classification.results.mat_file import entries
from tests.support.commands import DIGITS, ROOT, SECONDS, SHORT, waited_for
from tests.support.result_files import record, write

PROGRAM = {'main.py': [main.__file__], 'report': ['-m', 'utils.report']}
TRAIN = DIGITS + ['--num_clayers', '2', '--num_tasks', '1', '--epochs_per_task', '3', '--threads', '1',
                  '--num_runs', '1', '--save_mat_name', 'found.mat', '--result_dir']


def closed(*numbers):
    """Closes standard streams, as `>&-` does."""
    return lambda: [os.close(number) for number in numbers]


def answer(words, stdout, before=None, stderr=subprocess.PIPE):
    """(exit status, what it says on stderr) of Python."""
    child = subprocess.Popen([sys.executable] + words, cwd=ROOT, stdout=stdout, stderr=stderr,
                             preexec_fn=before)
    said = child.communicate()[1]
    return child.returncode, (said or b'').decode('utf-8')


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """A folder with a result file."""
    folder = tmp_path_factory.mktemp('results')
    write(folder / 'x.mat', 'STL', [record([[.9]])])
    return folder


OUTPUT = {'--list': ('main.py', ['--list']), '--help': ('main.py', ['--help']),
          # which also tells something
          '--dry_run': ('main.py', DIGITS + ['--dry_run', '--num_classes', '3']),
          'a report': ('report', ['x.mat'])}


@pytest.mark.parametrize('name', sorted(OUTPUT))
def test_output_that_cannot_be_written_is_one_line(name, results):
    program, words = OUTPUT[name]
    words = PROGRAM[program] + [str(results / word) if word == 'x.mat' else word for word in words]
    with open('/dev/full', 'w') as full:
        assert answer(words, full) == (1, 'error: the output cannot be written: No space left on device\n')
    assert answer(words, None, closed(1)) == (1, 'error: the output cannot be written: Bad file descriptor\n')
    reader, writer = os.pipe()
    os.close(reader)
    assert answer(words, writer) == (1, '')
    os.close(writer)


def test_an_error_has_its_status_wherever_it_is_told():
    words = PROGRAM['main.py'] + ['--model_type', 'nonsense']
    with open('/dev/full', 'w') as full:
        assert answer(words, full, stderr=full)[0] == 2
    assert answer(words, None, closed(0, 1, 2))[0] == 2


@pytest.mark.parametrize('before', [None, closed(1), closed(0, 1, 2)],
                         ids=['full disk', 'no stdout', 'no stream'])
def test_a_run_that_nobody_hears_ends_as_always(before, tmp_path):
    """Here without a trial: something is told, then the data are found to be missing."""
    words = PROGRAM['main.py'] + SHORT + ['--num_classes', '3', '--data_type', 'MNIST5', '--data_dir',
                                          str(tmp_path)]
    with open('/dev/full', 'w') as full:
        status, said = answer(words, full, before)
    assert status == 2 and (before is not None or 'is missing' in said)


def test_the_terminal_goes_away(tmp_path):
    """It is not the one that controls the process, which would send a signal first. The bar was on it."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, '-m', 'tests.support.command_line'] + TRAIN + [str(tmp_path)],
                             cwd=ROOT, stdout=theirs,
                             stderr=theirs, stdin=subprocess.DEVNULL, start_new_session=True,
                             env=dict(os.environ, TF_USE_LEGACY_KERAS='1'))
    os.close(theirs)
    seen = b''
    while b'working files' not in seen:
        seen += os.read(ours, 1000)
    os.close(ours)
    assert child.wait(SECONDS) == 0
    assert len(entries(str(tmp_path / 'found.mat'))) == 1
    log, = tmp_path.glob('found/*/log.txt')
    # the log has the table
    assert 'mean (std)' not in seen.decode() and 'peak test accuracy' in log.read_text()


def test_the_terminal_hangs_up(tmp_path):
    """The one that controls the process: a signal, a checkpoint, status 75."""
    pid, ours = pty.fork()
    if not pid:
        try:
            os.chdir(ROOT)
            os.environ['TF_USE_LEGACY_KERAS'] = '1'
            os.execv(sys.executable, [sys.executable, '-m', 'tests.support.command_line'] + TRAIN + [
                str(tmp_path), '--epochs_per_task', '100000', '--checkpoint_minutes', '0'])
        finally:
            os._exit(1)
    seen = b''
    while b'working files' not in seen:
        seen += os.read(ours, 1000)
    waited_for(lambda: list(tmp_path.glob('found/*/trial0/checkpoint')), 0.05)
    os.close(ours)
    assert os.WEXITSTATUS(waited_for(lambda: os.waitpid(pid, os.WNOHANG)[1], 0.05)) == 75
    log, = tmp_path.glob('found/*/log.txt')
    assert 'interrupted; the same command resumes it' in log.read_text()
