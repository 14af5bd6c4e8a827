"""state.json: what a trial leaves of where it is, seldom enough, and never at the trial's cost."""
import json
import os

import pytest

from classification.runs import trial_state
from classification.runs.trial_state import StateFile

PLACE = {'position': 0, 'task': 2, 'epochs': 20, 'total': 40, 'valid': 0.5, 'test': 0.4}


@pytest.fixture
def clock(monkeypatch):
    """A list with the time, in seconds."""
    now = [100.]
    monkeypatch.setattr(trial_state.time, 'monotonic', lambda: now[0])
    return now


def test_it_tells_where_the_trial_is_and_how_long_an_epoch_takes(tmp_path, clock):
    state = StateFile(str(tmp_path))
    begun = trial_state.read(str(tmp_path))
    assert begun['state'] == 'running' and begun['pid'] == os.getpid() and 'epoch' not in begun
    for epoch in range(1, 12):
        clock[0] += 11
        state.epoch(epoch=epoch, done=10 + epoch, **PLACE)
    seen = trial_state.read(str(tmp_path))
    assert (seen['task'], seen['epoch'], seen['done'], seen['epoch_seconds']) == (2, 11, 21, 11.)
    state.finish(33)
    assert trial_state.read(str(tmp_path)) == dict(seen, state='finished', training_seconds=33.)
    assert os.listdir(str(tmp_path)) == ['state.json']


def test_the_first_epoch_is_written_and_then_one_every_few_seconds(tmp_path, clock):
    state, epochs = StateFile(str(tmp_path)), []
    for epoch in range(1, 101):
        clock[0] += trial_state.WRITE_SECONDS / 20.
        state.epoch(epoch=epoch, done=epoch, **PLACE)
        epochs.append(trial_state.read(str(tmp_path))['epoch'])
    assert sorted(set(epochs)) == [1, 21, 41, 61, 81]
    state.end_by(None)
    left = trial_state.read(str(tmp_path))
    assert (left['state'], left['epoch']) == ('interrupted', 100) and 'reason' not in left


def test_a_reason_is_one_line(tmp_path):
    StateFile(str(tmp_path)).end_by('the loss\nof tcp://user:word@host became nan')
    left = trial_state.read(str(tmp_path))
    assert (left['state'], left['reason']) == ('failed', 'the loss\\nof tcp://host became nan')


def test_a_disk_that_cannot_be_written_is_passed_over(tmp_path):
    (tmp_path / 'state.json').mkdir()       # as root may write into a folder without permission
    state = StateFile(str(tmp_path))
    state.epoch(epoch=1, done=1, **PLACE)
    state.finish(1.)
    trial_state.end_by(str(tmp_path / 'missing'), 'of a trial')
    assert os.listdir(str(tmp_path)) == ['state.json'] and trial_state.read(str(tmp_path)) == {}


def test_who_lost_the_lock_writes_nothing(tmp_path):
    mine = [True]
    state = StateFile(str(tmp_path), lambda: mine[0])
    mine[0] = False
    (tmp_path / 'state.json').write_text(u'{"state": "running", "pid": 1}')
    state.epoch(epoch=1, done=1, **PLACE)
    state.end_by('lost')
    assert json.loads((tmp_path / 'state.json').read_text()) == {'state': 'running', 'pid': 1}


def test_what_another_process_adds_keeps_where_the_trial_was(tmp_path):
    state = StateFile(str(tmp_path))
    state.epoch(epoch=7, done=7, **PLACE)
    trial_state.end_by(str(tmp_path), 'it ended with signal 9')
    assert trial_state.read(str(tmp_path))['epoch'] == 7
    trial_state.end_by(str(tmp_path), None)
    left = trial_state.read(str(tmp_path))
    assert (left['state'], left['epoch']) == ('interrupted', 7) and 'reason' not in left
