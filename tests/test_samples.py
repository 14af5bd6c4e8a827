"""The README's sample commands, word for word, cut short: one trial, two tasks, one epoch, few images.

Each is a process of its own, as for a user. Two run side by side, the longest first: Office-Home's network
takes 5 GFLOP an image, and an image of a task is evaluated three times or more. Its samples are trained by
`make soak` only.
"""
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import main
from classification.experiment.mat_info import info
from classification.experiment.resolve import resolve
from classification.results.mat_file import entries
from tests.support import data_files
from tests.support.commands import SAMPLES

FIELDS = ['training_time', 'num_epoch', 'history_train_error', 'history_validation_error',
          'history_test_error', 'history_best_test_error', 'task_changed_epoch', 'history_loss',
          'history_learning_rate', 'confusion', 'correct_by_class']
LEEP = ['LEEP_score_trainset', 'LEEP_score_validset', 'LEEP_score_testset']
DEN = ['den_widths', 'den_expanded', 'den_split_candidates', 'den_split', 'den_stage_epochs',
       'den_loss_before_expansion',
       'den_selected_fraction', 'den_edge_density', 'den_nonzeros', 'best_validation_error',
       'test_error_at_best_epoch']


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder with data."""
    place = tmp_path_factory.mktemp('samples')
    data_files.few_images(str(place / 'Data'))
    return place


def cut_short(sample, place):
    return sample.split() + ['--num_runs', '1', '--num_tasks', '2', '--epochs_per_task', '1', '--threads',
                             '1', '--data_dir', str(place / 'Data'), '--result_dir', str(place / 'Result')]


@pytest.fixture(scope='module')
def outcome(place, request):
    """Function of a sample's name: (exit status, stdout, stderr, entry of its result file).
    All are started at once."""
    asked = [item.callspec.params['name'] for item in request.session.items if item.originalname
             == 'test_sample']

    def run(sample):
        options = cut_short(sample, place)
        child = subprocess.Popen([sys.executable, main.__file__] + options, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE)
        out, err = [text.decode('utf-8') for text in child.communicate()]
        path = place / 'Result' / sample.split()[-1]
        return child.returncode, out, err, entries(str(path)) if path.exists() else []

    with ThreadPoolExecutor(2) as workers:
        futures = {name: workers.submit(run, sample) for sample in SAMPLES for name in asked
                   if name in sample}
        yield lambda name: futures[name].result()


# name, architecture, fields of a result that are the method's own, some of model_specific_info
DETAILS = [
    ('cifar100_hpsTop2', 'hybrid_hps_cnn', LEEP,
     dict(conv_sharing=[0, 0, 1, 1], channel_sizes=[32, 32, 64, 64], batch_size=10, learning_rate=1e-4,
          hidden_layer=64, number_of_trainable_parameters=601428)),
    ('cifar100_lasem_hps', 'lasem_hps_cnn', ['history_net_prior', 'history_net_prior_in_epoch',
                                             'conv_sharing'],
     dict(channel_sizes=[32, 32, 64, 64], image_dimension=[32, 32, 3])),
    ('stl10_dfcnnAlter', 'hybrid_dfcnn', LEEP,
     dict(conv_sharing=[0, 1, 0, 1, 0, 1], regularization_scale=[0, 1e-7, 0, 1e-7], hidden_layer=[128, 16],
          cnn_KB_sizes=[2, 12, 2, 24, 2, 32, 2, 48, 2, 64, 2, 96],
          cnn_TS_sizes=[3, 24, 3, 48, 3, 64, 3, 96, 3, 128, 3, 192], cnn_deconv_stride_sizes=[2] * 12)),
    ('officehome_tfBot3', 'hybrid_tf_cnn', LEEP,
     dict(conv_sharing=[1, 1, 1, 0], auxiliary_loss_weight=0.1, channel_sizes=[64, 256, 256, 256],
          batch_size=16,
          kernel_sizes=[11, 11, 5, 5, 3, 3, 3, 3], hidden_layer=[256, 64], learning_rate=2e-5)),
    ('officehome_darts_hps', 'darts_hps_cnn', ['history_DARTS_arch_select', 'conv_sharing'],
     dict(darts_approx_order=1, image_dimension=[128, 128, 3], pooling_size=[3, 3, 3, 3, 2, 2, 2, 2])),
    ('officehome_prognn', 'prognn_cnn', LEEP, dict(dim_reduction_scale=2)),
    ('officehome_den', 'den_cnn', DEN,
     dict(hidden_layer=[256, 64], den_expansion=32, gl_lambda=2., den_drift_threshold=[0.05, 0.05],
          dropout=0)),
]


@pytest.mark.parametrize('name, architecture, _, expected', DETAILS, ids=[row[0] for row in DETAILS])
def test_a_sample_is_understood(name, architecture, _, expected, place):
    sample, = [sample for sample in SAMPLES if name in sample]
    found = info(resolve(main.parser().parse_args(cut_short(sample, place)), lambda line: None))
    assert found['architecture'] == architecture
    for field in set(expected) - {'number_of_trainable_parameters'}:
        np.testing.assert_array_equal(found[field], expected[field], err_msg=field)


@pytest.mark.parametrize('name, architecture, of_the_method, expected', [
    pytest.param(*row, marks=[pytest.mark.soak] * row[0].startswith('officehome'), id=row[0])
    for row in DETAILS])
def test_sample(name, architecture, of_the_method, expected, outcome):
    status, out, err, stored = outcome(name)
    assert (status, err) == (0, ''), err
    assert out.count('sees no usable GPU; training on the CPU\n') == 1 and '%s.mat' % name in out
    entry, = stored
    result, = entry['result_of_each_run']
    of_info = entry['model_specific_info']
    assert of_info['architecture'] == architecture
    assert ('conv_sharing' in of_info) == (architecture.startswith('hybrid'))
    for field, value in expected.items():
        np.testing.assert_array_equal(of_info[field].ravel(), value, err_msg=field)

    assert sorted(result) == sorted(FIELDS + of_the_method)
    for part in ('train', 'validation', 'test'):
        history = result['history_%s_error' % part]
        assert history.shape == (3, 3) and (history >= 0).all() and (history <= 1).all()
        assert not history[:2, 1].any()                # the second task is not learned yet
        np.testing.assert_allclose(history[:, 2], [history[0, 0], history[1, 0], history[2, :2].mean()])
    assert result['history_test_error'][:, 0].any()
    assert result['history_best_test_error'].shape == (1, 3)
    assert result['num_epoch'] == 2 and result['task_changed_epoch'].tolist() == [[1, 2]]
    assert entry['accuracy_matrix'].shape == (1, 2, 2) and entry['task_order'].tolist() == [[0, 1]]

    layers = len(of_info['channel_sizes'].ravel())
    if name == 'cifar100_lasem_hps':
        for field in of_the_method[:2]:
            assert result[field].shape == (2, 2 ** layers) and result[field].dtype == np.float32
            np.testing.assert_allclose(result[field].sum(axis=1), 1, rtol=1e-5)
        chosen = result['history_net_prior'].argmax(axis=1)
        # bit 1: its own
        expected = [[not number >> layer & 1 for layer in range(layers)] for number in chosen]
        assert result['conv_sharing'].dtype == bool and result['conv_sharing'].tolist() == expected
    elif name == 'officehome_darts_hps':
        selection = result['history_DARTS_arch_select']
        assert selection.shape == (2, 2 * layers) and selection.dtype == np.float32 and selection.any(
            axis=1).all()
        assert result['conv_sharing'].dtype == np.int64
        np.testing.assert_array_equal(result['conv_sharing'], selection[:, 1::2] > selection[:, ::2])
    elif name == 'officehome_den':
        # of one epoch, half a one is one
        assert result['den_stage_epochs'].tolist() == [[0, 0, 0, 1], [0, 1, 0, 0]]
        assert result['den_widths'].tolist() == [[64, 256, 256, 256, 256, 64]] * 2 and entry[
            'chosen_config'] == 'SSSS'
        # 2679437 for one task
        assert of_info['number_of_trainable_parameters'] == 2678592 + 2 * (64 * 13 + 13)
        assert out.count('loss before expansion %.4g' % result['den_loss_before_expansion'][0, 1]) == 1
        return
    if 'conv_sharing' in result:
        letters = [''.join('TS'[int(shared)] for shared in row) for row in result['conv_sharing']]
        assert '  trial 0: task 0 %s  task 1 %s\n' % tuple(letters) in out
        assert list(entry['chosen_config'][0]) == letters
    else:
        # ProgNN: none
        shared = of_info['conv_sharing'].ravel() if 'conv_sharing' in of_info else [False] * layers
        assert entry['chosen_config'] == ''.join('TS'[int(letter)] for letter in shared)
