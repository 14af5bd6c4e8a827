"""--save_predictions: the file against the accuracies and the data, types, damage, sizes."""
import os

import numpy as np
import pytest
from scipy.io import loadmat

from classification import gen_data
from classification.results import mat_file, mat_parts, predictions
from classification.results.ragged import packed
from classification.results.trial_record import load_record, save_record
from tests.support import result_files
from tests.support.commands import QUICK, experiment_of, is_refused, run_and_listen
from utils.read_results import load_predictions, load_results
from utils.utils import UserError

ABOUT = {'fingerprint': 'f', 'run_id': 'r', 'data_type': 'DIGITS5'}


@pytest.fixture
def here(tmp_path, monkeypatch, train_here):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record_of(answers, tasks=(0,), trial=0, **more):
    """A record with these answers (dict (position, task) -> classes); task t tests with two images, the
    second of class 1."""
    arrays = {}
    for name, values in (('rows', {task: np.array([10 * task, 300]) for task in tasks}),
                         ('labels', {task: np.array([0, 1]) for task in tasks}),
                         ('predictions', {key: np.array(value) for key, value in answers.items()})):
        arrays[name], arrays[name + '_parts'] = packed(values)
    R = [[0.5 if row >= column else np.nan for column in range(len(tasks))] for row in range(len(tasks))]
    return result_files.record(R, trial=trial, **more)._replace(predictions=arrays)


def test_the_file_says_what_the_accuracies_say(here):
    status, out, err = run_and_listen(QUICK + ['--model_type', 'EWC', '--num_tasks', '2', '--num_runs', '2',
                                               '--task_order', '1,0', '--epochs_per_task', '2',
                                               '--save_predictions', '--save_mat_name', 'x.mat'])
    assert (status, err) == (0, '') and 'predictions: Result/predictions/x/EWC-' in out
    entry, = load_results('Result/x.mat')
    found = load_predictions(os.path.join('Result', entry['predictions_file']))
    assert found['trials'].tolist() == [0, 1] and found['tasks'].tolist() == [0, 1]
    assert [found[name] for name in predictions.TEXTS] == [entry[name] for name in predictions.TEXTS]
    source = gen_data.DATASETS['DIGITS5'].source
    raw = np.concatenate(list(source.labels('Data').values()))
    for trial in range(2):
        for place, classes in enumerate(([0, 1], [2, 3])):
            rows, labels = found['rows'][trial][place], found['labels'][trial][place]
            assert rows.dtype == np.uint16 and raw[rows].tolist() == np.array(classes)[labels].tolist()
            for position in range(2):
                given = found['predictions'][trial][position][place]
                if np.isnan(entry['accuracy_matrix'][trial, position, place]):
                    assert (position, place) == (0, 0) and given.size == 0
                else:
                    assert given.dtype == np.uint8
                    assert np.mean(given == labels) == entry['accuracy_matrix'][trial, position, place]


def test_it_is_another_experiment_and_the_same_numbers():
    plain, asked = experiment_of('--lifelong'), experiment_of('--lifelong', '--save_predictions')
    assert plain.fingerprint() != asked.fingerprint()
    assert asked._replace(analyses=plain.analyses).fingerprint() == plain.fingerprint()


@pytest.mark.parametrize('trials', [1, 2, 5])
@pytest.mark.parametrize('tasks', [(0,), (0, 2)])
def test_types_do_not_depend_on_how_many_there_are(trials, tasks, tmp_path):
    path = str(tmp_path / 'a' / 'x.mat')
    answers = {(position, task): [1, 0] for position in range(len(tasks)) for task in tasks[:position + 1]}
    predictions.write(path, predictions.variables(
        [record_of(answers, tasks, trial) for trial in range(trials)], tasks, ABOUT))
    raw = loadmat(path)
    assert raw['rows'].shape == (1, trials) and raw['rows'][0, 0].shape == (1, len(tasks))
    assert raw['predictions'].shape == (1, trials) and raw['predictions'][0, 0].shape == (1, len(tasks))
    cell = raw['predictions'][0, 0][0, 0][0, 0]
    assert cell.tolist() == [[1, 0]] and cell.dtype == np.uint8
    assert raw['rows'][0, 0][0, 0].dtype == np.uint16 and raw['trials'].tolist() == [list(range(trials))]
    found = load_predictions(path)
    assert found['tasks'].tolist() == list(tasks) and len(found['predictions']) == trials
    assert [[one.tolist() for one in row] for row in found['predictions'][0]] == (
        [[[1, 0]]] if len(tasks) == 1 else [[[1, 0], []], [[1, 0], [1, 0]]])


def test_a_task_that_returns_has_its_answers_after_each_position():
    """Tasks 0, 2, 0."""
    answers = {(0, 0): [0, 0], (1, 0): [0, 1], (1, 2): [1, 0], (2, 0): [1, 1], (2, 2): [0, 1]}
    record = record_of(answers, (0, 2))._replace(accuracy_matrix=np.zeros((3, 2)))
    found, = predictions.variables([record], (0, 2), ABOUT)['predictions']
    assert [[given.tolist() for given in row] for row in found] == [
        [[0, 0], []], [[0, 1], [1, 0]], [[1, 1], [0, 1]]]


def test_a_record_keeps_them(tmp_path):
    record = record_of({(0, 0): [1, 1]})
    save_record(str(tmp_path / 'record.npz'), record)
    back = load_record(str(tmp_path / 'record.npz'))
    assert sorted(back.predictions) == sorted(record.predictions) and back.extra == {}
    assert back.predictions['predictions'].dtype == np.uint8
    save_record(str(tmp_path / 'record.npz'), record._replace(predictions=None))
    assert load_record(str(tmp_path / 'record.npz')).predictions is None


def test_what_is_no_such_file_is_one_line(tmp_path):
    path = str(tmp_path / 'x.mat')
    result_files.write(tmp_path / 'x.mat', 'STL', [result_files.record([[0.5]])])
    with pytest.raises(UserError, match='is no file of predictions, which --save_predictions writes: '
                                        'it has no finger'):
        load_predictions(path)
    made = predictions.variables([record_of({(0, 0): [1, 1]})], (0,), ABOUT)
    with open(path, 'wb') as stream:
        stream.write(mat_file.encoded(dict(made, schema_version=2)))
    with pytest.raises(UserError, match='newer'):
        load_predictions(path)
    with pytest.raises(UserError, match='nowhere.mat'):
        load_predictions(str(tmp_path / 'nowhere.mat'))


@pytest.mark.parametrize('change', [
    {'schema_version': 'x'}, {'schema_version': np.zeros(0)}, {'schema_version': ['x']},
    {'schema_version': np.inf}, {'trials': 'x'}, {'tasks': {'a': 1}}, {'rows': 'x'},
    {'labels': [['x']]}, {'predictions': [[[{'a': 1}]]]}], ids=str)
def test_a_field_of_another_kind_is_one_line(change, tmp_path):
    path = str(tmp_path / 'x.mat')
    made = predictions.variables([record_of({(0, 0): [1, 1]})], (0,), ABOUT)
    with open(path, 'wb') as stream:
        stream.write(mat_file.encoded(dict(made, **change)))
    with pytest.raises(UserError, match='x.mat is damaged: it is not what --save_predictions wrote'):
        load_predictions(path)


@pytest.mark.parametrize('name', predictions.FIELDS)
def test_each_variable_is_one_that_matlab_can_read(name, tmp_path, monkeypatch):
    made = predictions.variables([record_of({(0, 0): [1, 1]})], (0,), ABOUT)
    monkeypatch.setattr(mat_parts, 'MAX_BYTES', max(len(mat_file.encoded({one: made[one]})) for one in made))
    predictions.write(str(tmp_path / 'x.mat'), made)
    made[name] = [[np.zeros(1000, np.uint8)]]
    with pytest.raises(UserError, match='is not written: its %s would take' % name):
        predictions.write(str(tmp_path / 'other.mat'), made)
    assert os.listdir(str(tmp_path)) == ['x.mat']


def test_one_that_matlab_could_not_read_costs_no_entry(here, monkeypatch):
    write = predictions.write

    def too_large(path, made):
        with monkeypatch.context() as now:
            now.setattr(mat_parts, 'MAX_BYTES', 100)
            write(path, made)
    monkeypatch.setattr(predictions, 'write', too_large)
    status, out, err = run_and_listen(QUICK + ['--model_type', 'STL', '--num_tasks', '1', '--num_runs', '1',
                                               '--epochs_per_task', '1', '--save_predictions',
                                               '--save_mat_name', 'x.mat'])
    assert status == 0 and err.count('\n') == 1 and 'is not written: its rows would take' in err
    assert len(load_results('Result/x.mat')) == 1


def test_the_folder_of_predictions_is_no_name_of_a_result():
    is_refused(['--data_type', 'DIGITS5', '--save_mat_name', 'predictions'], 'not "params" or "predictions"')
