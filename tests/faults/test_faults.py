"""Whatever strikes a run, and however many run at once, no number is lost: the short versions of `make soak`."""
import os
import subprocess
import sys

import pytest

from tests.faults import endurance
from tests.processes import ROOT


def passes(program, *options):
    """What a program of this folder prints; it must end well."""
    done = subprocess.Popen([sys.executable, '-m', 'tests.faults.' + program] + list(options), cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            env=dict(os.environ, TF_USE_LEGACY_KERAS='1', OMP_NUM_THREADS='1'))
    said = done.communicate()[0].decode('utf-8')
    print(said)
    assert done.returncode == 0, said
    return said


def test_struck_at_every_stage():
    """Six kills of a trial, one at each of its stages, and each of the other faults once."""
    said = passes('soak', '--forked', '--rounds', '6', '--others', '9', '--models', 'LASEM_HPS')
    assert '15 of  15 rounds struck' in said and 'losses: 0' in said


def test_many_at_once():
    passes('many')


def test_a_small_disk():
    said = passes('disk')
    if 'can be mounted' in said:
        pytest.skip(said.strip())


def test_memory_and_open_files_stay_flat():
    memory, files = endurance.measured(200)
    assert not endurance.grows(memory, files), (endurance.slope(memory), files[0], files[-1])
