"""Files that are read again later: an older one lacks fields and is read, a newer version is refused in one
line.

The first half adds a field to everything that a trial leaves behind, as a change of the code would, and takes
up what tests/earlier holds, where no such field is.
"""
import collections
import io
import json

import numpy as np
import pytest

from classification import train
from classification.data import data_cache, raw_checksums
from classification.experiment import sizes
from classification.report import command as report
from classification.results import summary, trial_record
from classification.results.read_results import load_results
from classification.runs import supervisor
from classification.trial import checkpoint, recorder, state
from tests.support import data_files
from tests.support.command_line import PoolHere
from tests.support.commands import run_and_listen
from tests.support.result_files import BEGUN, FINISHED
from tests.support.tiny import make_experiment, make_trial
from utils.utils import UserError

FIELD, FINITE = 'energy', 4.
EARLIER_EPOCHS = 16


# ---- a new field ----

class LongerHistory(state.History):
    """Keeps one number more for each epoch."""
    PLAIN = dict(state.History.PLAIN, **{FIELD: FIELD})

    def __init__(self, *sizes_of_all):
        super(LongerHistory, self).__init__(*sizes_of_all)
        self.energy = []

    def add_method_rows(self, rows):
        super(LongerHistory, self).add_method_rows(rows)
        self.energy.append(FINITE)


LongerRecord = collections.namedtuple('TrialRecord', trial_record.TrialRecord._fields + (FIELD,))
LongerRecord.__new__.__defaults__ = tuple(trial_record.TrialRecord._field_defaults.values()) + (None,)
LongerRecord._field_defaults = dict(trial_record.TrialRecord._field_defaults, **{FIELD: None})


def _longer_summary(info, records, *arguments, **more):
    made = summary.summary(info, records, *arguments, **more)
    known = [getattr(record, FIELD, None) for record in records]
    return dict(made, **{FIELD: np.array([[np.nan if one is None else np.sum(one) for one in known]])})


@pytest.fixture
def longer(monkeypatch):
    """The code with a field more in histories, records and entries; trials are trained in this process."""
    record_of = recorder.Recorder.record

    monkeypatch.setattr(trial_record, 'TrialRecord', LongerRecord)
    monkeypatch.setattr(recorder, 'TrialRecord', LongerRecord)
    monkeypatch.setattr(state, 'History', LongerHistory)
    monkeypatch.setattr(recorder.Recorder, 'record', lambda self, fields: record_of(self, fields)._replace(
        energy=np.array(self.trial.state.history.energy)))
    monkeypatch.setattr(sizes, 'summary', _longer_summary)
    monkeypatch.setattr(supervisor, 'choose_pool', lambda flags, trials, say: PoolHere())


def test_earlier_records_checkpoints_and_entries_are_read_by_code_that_keeps_a_field_more(
        result, longer, capsys):
    status, out, err = run_and_listen(BEGUN + ['--num_runs', '2'])
    assert (status, err) == (0, '')
    folder, = (result / 'begun').iterdir()
    old, new = [trial_record.load_record(str(folder / trial / 'record.npz'))
                for trial in ('trial0', 'trial1')]
    assert old.energy is None and 0 < len(new.energy) < EARLIER_EPOCHS and set(new.energy) == {FINITE}
    entry, = load_results(str(result / 'begun.mat'))
    assert np.isnan(entry[FIELD][0]) and entry[FIELD][1] == FINITE * len(new.energy)
    assert run_and_listen(FINISHED + ['--num_runs', '2'])[0] == 0          # its entry lacks the field
    assert report.main([str(result / 'begun.mat'), str(result / 'finished.mat')]) == 0
    out, err = capsys.readouterr()
    assert err == '' and 'LASEM_HPS' in out and 'Hybrid_HPS' in out


def test_a_trial_with_the_field_goes_on_where_it_was_stopped(longer, tmp_path):
    experiment, stops = make_experiment('LASEM_HPS', epochs=2), iter([True] + [False] * 9)
    with pytest.raises(train.Interrupted):
        make_trial(experiment, tmp_path, stopping=lambda: next(stops)).run()
    path = str(tmp_path / 'record.npz')
    trial_record.save_record(path, make_trial(experiment, tmp_path).run())
    assert trial_record.load_record(path).energy.tolist() == [FINITE] * 4


def test_code_of_before_reads_records_with_the_field(longer, tmp_path, monkeypatch):
    path = str(tmp_path / 'record.npz')
    trial_record.save_record(path, make_trial(make_experiment('STL', epochs=1), tmp_path).run())
    longer_one = trial_record.load_record(path)
    monkeypatch.undo()
    assert trial_record.load_record(path)._fields == longer_one._fields[:-1]


# ---- a newer version ----

NEWER = (r'%s was written by newer code \(version %d of such files; this code reads up to version %d\); '
         r'go on with that')


def test_a_newer_record_is_refused(result, monkeypatch):
    path, = result.glob('finished/*/trial1/record.npz')
    with monkeypatch.context() as newer:
        newer.setattr(trial_record, 'VERSION', trial_record.VERSION + 1)
        trial_record.save_record(str(path), trial_record.load_record(str(path)))
    before = path.read_bytes()
    with pytest.raises(UserError, match=NEWER % (path, trial_record.VERSION + 1, trial_record.VERSION)):
        trial_record.load_record(str(path))
    status, out, err = run_and_listen(FINISHED + ['--num_runs', '3'])
    assert status == 2 and err.startswith('error: ') and err.count('\n') == 1 and 'newer code' in err, err
    assert path.read_bytes() == before and 'delete' not in err


def test_a_newer_checkpoint_is_refused_and_stays(tmp_path, monkeypatch):
    experiment, path = make_experiment('STL', epochs=2), tmp_path / 'checkpoint'
    with pytest.raises(train.Interrupted):
        make_trial(experiment, tmp_path, stopping=lambda: True).run()
    content = path.read_bytes().replace(b'lasem-checkpoint-%d' % checkpoint.VERSION, b'lasem-checkpoint-12',
                                        1) + b'more'
    path.write_bytes(content)
    with pytest.raises(UserError, match=NEWER % (path, 12, checkpoint.VERSION)):
        make_trial(experiment, tmp_path).run()
    assert path.read_bytes() == content


def test_the_first_version_of_checkpoints_is_read(tmp_path):
    """It has an array for each name."""
    payload, names = io.BytesIO(), ['history:rows', 'store:a']
    np.savez(payload, a0=np.zeros((2, 3)), a1=np.arange(4.), **{
        name: np.frombuffer(json.dumps(value).encode(), np.uint8) for name,
        value in (('meta', {'epoch': 3}), ('names', names))})
    path = tmp_path / 'checkpoint'
    path.write_bytes(b'lasem-checkpoint-1\n' + checkpoint._digest(payload.getvalue()) + b'\n'
                     + payload.getvalue())
    meta, groups = checkpoint.load(str(path), pytest.fail)
    assert meta == {'epoch': 3} and groups['store']['a'].tolist() == [0, 1, 2, 3] and groups['history'][
        'rows'].shape == (2, 3)


def test_a_newer_cache_of_images_is_neither_read_nor_overwritten(tmp_path, monkeypatch):
    images, said = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1), []

    def cached(say=pytest.fail, decode=lambda: images):
        return data_cache.cached(str(tmp_path), 'x', 'key', images.shape, decode, say)
    with monkeypatch.context() as newer:
        newer.setattr(data_cache, 'VERSION', data_cache.VERSION + 1)
        cached()
        np.testing.assert_array_equal(cached(decode=pytest.fail), images)
    path, = (tmp_path / 'cache').glob('*.npy')
    before = path.read_bytes()
    np.testing.assert_array_equal(cached(said.append, lambda: images + 1), images + 1)
    assert path.read_bytes() == before and len(said) == 1 and 'was written by newer code (version 2' in said[
        0]


def test_newer_checksums_of_raw_files_are_neither_believed_nor_overwritten(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_checksums, 'SETTLED_NS', 0)
    data_files.mnist(tmp_path, 12, 1)
    files = dict(enumerate(map(str, sorted((tmp_path / 'MNIST_data').iterdir()))))

    def checksum():
        monkeypatch.setattr(raw_checksums, 'KNOWN', {})
        found = raw_checksums.checksum(str(tmp_path), 'x', files)
        raw_checksums.remember(str(tmp_path), 'x')
        return found
    first = checksum()
    path, = (tmp_path / 'cache').glob('checksums-x@*.json')
    newer = path.read_text().replace('"version": %d' % raw_checksums.VERSION, '"version": %d'
                                     % (raw_checksums.VERSION + 1))
    path.write_text(newer)
    assert checksum() == first and path.read_text() == newer
