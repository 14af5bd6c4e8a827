"""Result files as plain Python and, where Octave is installed, in Octave."""
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from classification.results.mat_file import write_temp
from classification.results.read_results import load_config, load_results
from classification.results.read_results import test_curves as curves_of
from classification.results.summary import summary
from tests.support.commands import ROOT
from tests.support.result_files import drawn, info, published_summary, record, write, write_published
from utils.utils import UserError

NAN = np.nan
TWO_TASKS = [[0.8, NAN], [0.6, 0.9]]
EXAMPLE = os.path.join(ROOT, 'scripts', 'read_results.m')


@pytest.mark.parametrize('trials', [1, 3])
@pytest.mark.parametrize('order', [(0,), (1, 0), (0, 1, 0, 1, 2)], ids=str)
def test_shapes_do_not_depend_on_how_many_there_are(trials, order, tmp_path):
    tasks, positions = len(set(order)), len(order)
    path = write(tmp_path / 'x.mat', 'LASEM_HPS', [drawn('LASEM_HPS', tasks, trial, order)
                                                   for trial in range(trials)], order)
    result, = load_results(path)
    shapes = {'task_order': (positions,), 'training_time': (trials,), 'train_valid_data_group': (trials,),
              'accuracy_matrix': (trials, positions, tasks), 'peak_accuracy': (trials, tasks),
              'forgetting': (trials, tasks),
              'avg_incremental_accuracy': (trials,), 'backward_transfer': (trials,),
              'final_accuracy_mean': (tasks,), 'best_test_error_each_task': (trials, positions)}
    assert {name: result[name].shape for name in shapes} == shapes
    run = result['result_of_each_run'][trials - 1]
    assert len(result['result_of_each_run']) == trials and run['conv_sharing'].shape == (tasks, 4)
    assert run['history_net_prior'].shape == (4 * positions, 16) and isinstance(run['training_time'], float)
    assert (result['data_type'], result['seed'], result['unfinished'], result['computed_fields']) == (
        'DIGITS5', 0, False, [])
    assert isinstance(result['seed'], int) and isinstance(result['training_time_mean'], float)
    assert result['model_specific_info']['channel_sizes'].tolist() == [16, 16, 32, 32]
    assert result['model_specific_info']['architecture'] == 'lasem_hps_cnn'


def test_curves_have_no_placeholders(tmp_path):
    """0.0 in the file until task 0, the second one, is learned; the order is 1, 0."""
    path = write(tmp_path / 'x.mat', 'STL',
                 [record([[NAN, 0.8], [0.9, 0.6]], order=(1, 0), epochs=2)], (1, 0))
    result, = load_results(path)
    history = result['result_of_each_run'][0]['history_test_error']
    np.testing.assert_allclose(history[:, :2], [[0, 0.5], [0, 0.65], [0, 0.8], [0.7, 0.7], [0.9, 0.6]])
    np.testing.assert_allclose(curves_of(result['result_of_each_run'][0], result['task_order']),
                               [[NAN, 0.5], [NAN, 0.65], [NAN, 0.8], [0.7, 0.7], [0.9, 0.6]])


def published(path, **changes):
    """The experiment in a file of the authors' release, some of its fields changed; None: left out."""
    made = dict(published_summary(), **changes)
    cell = np.zeros((1,), dtype=object)
    cell[0] = {name: value for name, value in made.items() if value is not None}
    savemat(str(path), {'training_summary': cell})
    return load_results(str(path))[0]


def test_what_the_published_code_leaves_out_is_computed(tmp_path):
    write_published(tmp_path / 'x.mat')
    result, = load_results(str(tmp_path / 'x.mat'))
    expected = ['accuracy_matrix', 'final_accuracy', 'avg_incremental_accuracy', 'backward_transfer',
                'forgetting', 'forgetting_ratio', 'peak_accuracy']
    assert result['computed_fields'] == expected
    for trial, run in enumerate(result['result_of_each_run']):
        history = run['history_test_error']      # tasks end at rows 2, 4 and 6
        np.testing.assert_array_equal(result['accuracy_matrix'][trial], [
            [history[2, 0], NAN, NAN], [history[4, 0], history[4, 1], NAN], history[6, :3]])
        np.testing.assert_array_equal(result['final_accuracy'][trial], history[6, :3])
    np.testing.assert_array_equal(result['peak_accuracy'], [[0.1, 0.1, 0.197]] * 2)
    assert result['model_specific_info']['hidden_activation'] == {} and 'data_type' not in result


def test_one_trial_and_one_task_of_the_published_code(tmp_path):
    runs = np.zeros((1,), dtype=object)
    runs[0] = {'training_time': 1.5, 'num_epoch': 1, 'history_test_error': [[0.1, 0.1], [0.3, 0.3]],
               'history_best_test_error': [0.1, 0.3], 'task_changed_epoch': [1]}
    result = published(tmp_path / 'x.mat', task_order=[0], result_of_each_run=runs, training_time=[1.5],
                       train_valid_data_group=[0], best_test_error_each_task=[[0.3]],
                       test_error_at_last_epoch=[[0.3]])
    assert result['accuracy_matrix'].tolist() == [[[0.3]]] and result['peak_accuracy'].tolist() == [[0.3]]
    assert result['training_time'].tolist() == [1.5] and result['task_order'].tolist() == [0]


def test_histories_that_are_missing_leave_the_metrics_missing(tmp_path):
    runs = np.zeros((2,), dtype=object)
    for trial in range(2):
        runs[trial] = {'training_time': 8. + trial, 'num_epoch': 6, 'task_changed_epoch': [1, 3, 5]}
    result = published(tmp_path / 'x.mat', result_of_each_run=runs, training_time=None,
                       train_valid_data_group=None)
    assert 'accuracy_matrix' not in result and result['computed_fields'] == []
    assert result['training_time'].tolist() == [8., 9.] and result['train_valid_data_group'].tolist() == [
        0, 1]


def test_files_saved_again_in_other_layouts(tmp_path):
    """Squeezed by SciPy, as the published loader does, and then as structs instead of cells of one."""
    write_published(tmp_path / 'x.mat')
    squeezed = loadmat(str(tmp_path / 'x.mat'), squeeze_me=True, struct_as_record=False)['training_summary']
    info_fields = squeezed.model_specific_info
    info_fields.hidden_activation = 'relu'      # a struct without fields cannot be saved again
    savemat(str(tmp_path / 'y.mat'), {'training_summary': squeezed})
    first, second = [load_results(str(tmp_path / name))[0] for name in ('x.mat', 'y.mat')]
    for name in ('accuracy_matrix', 'peak_accuracy', 'task_order', 'training_time', 'train_valid_data_group'):
        np.testing.assert_array_equal(second[name], first[name], err_msg=name)


def test_a_temporary_file_is_an_unfinished_experiment(tmp_path):
    path = str(tmp_path / 'temp_x.mat')
    write_temp(path, summary(info('STL'), [record(TWO_TASKS)], (0, 1)))
    result, = load_results(path)
    assert result['unfinished'] and result['accuracy_matrix'].shape == (1, 2, 2)


def test_what_is_no_result_gets_one_line(tmp_path):
    savemat(str(tmp_path / 'other.mat'), {'x': 1})
    savemat(str(tmp_path / 'odd.mat'), {'training_summary': {'seed': 3}})
    (tmp_path / 'text.mat').write_text(u'text')
    for name, says in [('none.mat', 'cannot be read'), ('text.mat', 'is not a MATLAB file'),
                       ('other.mat', 'is not a result'),
                       ('odd.mat',
                        'experiment 1 is not one .*no model_specific_info, task_order, result_of_each_run')]:
        with pytest.raises(UserError, match=says) as error:
            load_results(str(tmp_path / name))
        assert '\n' not in str(error.value) and name in str(error.value)


@pytest.mark.parametrize('change', [
    {'task_order': [0, 1]}, {'task_order': [0, 1, 7]}, {'task_order': []}, {'train_valid_data_group': [0]},
    {'best_test_error_each_task': np.ones((2, 2))}, {'model_specific_info': 3.}, {'result_of_each_run': []}],
                         ids=str)
def test_fields_that_contradict_each_other_get_one_line(change, tmp_path):
    with pytest.raises(UserError, match='experiment 1 is not one'):
        published(tmp_path / 'x.mat', **change)


def test_the_config_beside_a_file(tmp_path):
    path = write(tmp_path / 'x.mat', 'STL', [record(TWO_TASKS)], config=True)
    fingerprint = load_results(path)[0]['fingerprint']
    assert load_config(path, fingerprint)['experiment']['checksums']['raw'] == 'c0ffee'
    assert load_config(str(tmp_path / 'temp_x.mat'), fingerprint) == load_config(path, fingerprint)
    assert load_config(path, 'STL00000') == load_config(path, None) == load_config(str(tmp_path / 'y.mat'),
                                                                                   fingerprint) == {}


@pytest.mark.skipif(not shutil.which('octave-cli'), reason='Octave is not installed')
def test_the_example_for_matlab(tmp_path):
    path = write(tmp_path / 'x.mat', 'STL', [record(TWO_TASKS, trial=0),
                                             record([[0.8, NAN], [0.4, 0.7]], trial=1)])
    write(path, 'Hybrid_HPS', [record([[0.75]])], pattern='TTSS')
    write_published(tmp_path / 'old.mat')
    said = [subprocess.check_output(['octave-cli', EXAMPLE, one], stderr=subprocess.DEVNULL).decode(
        'ascii').split('\n')
            for one in (path, str(tmp_path / 'old.mat'))]
    assert said[0] == [
        'stl_cnn, number of trials: 2', 'final average test accuracy, mean over trials: 0.6500',
        'task 0: test accuracy after the last epoch, mean over trials: 0.5000',
        'task 1: test accuracy after the last epoch, mean over trials: 0.8000',
        'hybrid_hps_cnn, number of trials: 1', 'final average test accuracy, mean over trials: 0.7500',
        'task 0: test accuracy after the last epoch, mean over trials: 0.7500', '']
    assert said[1][0] == 'hybrid_hps_cnn, number of trials: 2' and len(said[1]) == 5
    assert re.match(r'task 2: test accuracy after the last epoch, mean over trials: 0\.\d{4}$', said[1][3])
