"""Calls of main.py in this process or another, with options that many tests share."""
import contextlib
import io
import os
import re
import subprocess
import sys

import main
from classification.experiment.resolve import resolve

DIGITS = ['--data_type', 'DIGITS5', '--model_type', 'HPS', '--test_type', '10', '--lifelong']
SHORT = DIGITS + ['--num_tasks', '2', '--epochs_per_task', '2', '--threads', '1', '--save_mat_name', 'digits.mat']
MAT = os.path.join('Result', 'digits.mat')


def run(options):
    """Exit status of the command line."""
    try:
        return main.main(options)
    except SystemExit as end:
        return end.code


def run_and_listen(options):
    """(exit status, what it said on stdout, on stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(options)
    return status, out.getvalue(), err.getvalue()


def process(arguments):
    """(ended process, its stdout, its stderr) of Python."""
    child = subprocess.Popen([sys.executable] + arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.communicate()
    return child, out.decode('utf-8'), err.decode('utf-8')


def experiment_of(*options):
    """The Experiment that these options mean; the last one of a name wins."""
    return resolve(main.parser().parse_args(DIGITS + list(options)), lambda line: None)


def imports_nothing_of_tensorflow(options):
    """Asserts it of a process with these options: (exit status, stdout)."""
    child, out, err = process(['-X', 'importtime', main.__file__] + options)
    imported = re.findall(r'import time:.*\| +(\S+)$', err, re.MULTILINE)
    assert 'argparse' in imported and not [name for name in imported if name.startswith('tensorflow')]
    return child.returncode, out


def is_refused(options, says):
    """Asserts that the answer is one line of error with these words, and status 2."""
    status, out, err = run_and_listen(options)
    assert (status, out) == (2, '') and err.startswith('error: ') and err.count('\n') == 1 and says in err, err
