"""Runs the commands and Python blocks of the documentation in a temporary folder, with few epochs and trials.

    python -m tests.run_docs             also those that take minutes (make test-all); a line for each block
    python -m tests.run_docs PAGE...     of these pages

The tests run those that take seconds. Blocks that need what a test cannot have are marked, and only checked.
Training is cut short: one trial, two tasks, one epoch; it happens in the process of the command, so that
TensorFlow is imported once.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from tests.support.doc_blocks import PAGES, ROOT, blocks  # noqa: E402

SHORT = ['--epochs_per_task', '1', '--num_runs', '1', '--num_tasks', '2', '--threads', '1']
OURS = ('Result', 'Data', 'report', '.git')       # of the temporary folder, not linked
PYTHON3 = '#!/bin/sh\nPYTHONPATH=%s exec %s -m tests.run_docs --as-python "$@"\n'


def make_folder(folder):
    """A folder in which this project seems to stand, with results of its own and a `python3` that cuts
    training short.

    Returns:
        the environment for commands there.
    """
    for name in os.listdir(ROOT):
        if name not in OURS:
            os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))
    programs = os.path.join(folder, 'programs')
    os.mkdir(programs)
    with open(os.path.join(programs, 'python3'), 'w') as stream:
        stream.write(PYTHON3 % (ROOT, sys.executable))
    os.chmod(os.path.join(programs, 'python3'), 0o755)
    return dict(os.environ, PATH=programs + os.pathsep + os.environ['PATH'], TF_USE_LEGACY_KERAS='1',
                CUDA_VISIBLE_DEVICES='-1')


def run(block, folder, environment):
    """Runs a block; returns (exit status, what it said)."""
    if block.language == 'matlab':
        words = ['octave-cli', '--eval', "set(0, 'defaultfigurevisible', 'off');\n" + block.text]
    elif block.language == 'python':
        words = [sys.executable, '-c', block.text]
        environment = dict(environment, PYTHONPATH=ROOT)
    else:
        words = ['bash', '-euo', 'pipefail', '-c', block.text]
    child = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    said = child.communicate()[0].decode('utf-8', 'replace')
    return child.returncode, said


def is_run(block, minutes):
    """Whether a block is run here."""
    return block.language in ('sh', 'python') and (not block.marker or minutes and block.marker
                                                   == ('takes', 'minutes'))


def as_python(words):
    """What `python3 WORDS` does in such a folder."""
    if words[:1] != ['main.py']:
        os.execv(sys.executable, [sys.executable] + words)
    import main
    from classification.runs import supervisor
    from tests.support.command_line import PoolHere
    from utils.utils import run_command
    supervisor.choose_pool = lambda flags, trials, say: PoolHere()
    asks = {'--dry_run', '--list', '--help'} & set(words)
    run_command(lambda: main.main(words[1:] + ([] if asks else SHORT)))


def main_of(pages):
    """Runs all blocks of some pages; the exit status is 1 if one fails."""
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        environment = make_folder(folder)
        for page in pages:
            for block in blocks(page):
                if is_run(block, minutes=True):
                    status, said = run(block, folder, environment)
                    outcome = 'FAILS with status %d\n%s' % (status, said) if status else 'runs'
                    print('%s: %s' % (block.name, outcome), flush=True)
                    failed += status != 0
    return int(failed > 0)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--as-python']:
        as_python(sys.argv[2:])
    else:
        sys.exit(main_of(sys.argv[1:] or PAGES))
