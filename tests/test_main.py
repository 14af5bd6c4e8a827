"""The command line as a user sees it: options in, lines on the screen and files out."""
import contextlib
import glob
import io
import json
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import main
from classification import train_wrapper, trial_process
from classification.experiment import Experiment, info, resolve, task_order, tensorflow_version
from classification.gen_data import DATASETS
from classification.local_pool import visible_devices
from classification.mat_file import append_entry, entries
from classification.parameters import count_of
from tests import data_files
from utils import utils_env_cl as env
from utils.report import command_for
from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, UserError

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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- answers at once ----

@pytest.mark.parametrize('options, status, says', [
    (['--help'], 0, '--checkpoint_minutes'), (['--list'], 0, 'LASEMG_DFCNN'), (['--nonsense'], 2, '--nonsense'),
    (['--seed', 'x'], 2, "'x'"), (['--lifelon'], 2, '--lifelon'), (['--lifelong', '--model_type', 'HSP'], 2, 'HPS'),
])
def test_answers_within_a_second_without_tensorflow(options, status, says):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child, out, err = process([main.__file__] + options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime      # of its own: others may be busy
    assert child.returncode == status and 0 < seconds < 1
    assert says in (err if status else out) and (not out if status else not err)
    assert err.count('\n') == (1 if status else 0) and 'Traceback' not in err
    imports_nothing_of_tensorflow(options)


def imports_nothing_of_tensorflow(options):
    child, out, err = process(['-X', 'importtime', main.__file__] + options)
    imported = re.findall(r'import time:.*\| +(\S+)$', err, re.MULTILINE)
    assert 'argparse' in imported and not [name for name in imported if name.startswith('tensorflow')]
    return child.returncode, out


@pytest.mark.parametrize('option', ['--list', '--help'])
def test_a_reader_that_leaves_early_is_no_error(option):
    child = subprocess.Popen([sys.executable, main.__file__, option], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    child.stdout.close()
    assert child.stderr.read() == b''
    child.wait()


def test_help_tells_every_option_and_its_default(capsys):
    assert run(['--help']) == 0
    shown = capsys.readouterr().out
    for group in main.parser()._action_groups:
        for action in group._group_actions:
            assert re.search(r'^ +(-h, )?%s\b' % action.option_strings[-1], shown, re.MULTILINE) and action.help
            if action.nargs == 0 or group.title == 'accepted without effect':
                continue
            assert 'default' in action.help, action.dest
            if action.default is not None:
                text = action.default if isinstance(action.default, str) else '%g' % action.default
                by_table = 'default: the data set' in action.help      # the number -1 only means that
                assert by_table or '(default: %s)' % text in ' '.join(shown.split()), action.dest


def test_published_options_keep_their_defaults():
    flags = vars(main.parser().parse_args([]))
    published = dict(gpu=(-1,), data_type='MNIST5', model_type='STL', save_mat_name='delete_this.mat', test_type=0,
                     task_order_type=0, cnn_padtype_valid=False, lifelong=False, savegraph=False,
                     skip_connect_test_type=0, num_clayers=-1, reset_prior=False, em_fix_maxC='top1', em_maxP=0.9,
                     em_cnt_prior=False, em_prior_init_cnt=1, darts_approx_order=1, saveparam=False, data_augment=False,
                     tensorfactor_param_path=None, stl_analysis=False, stl_task_to_learn=-1, stl_total_data_ratio=1,
                     mutual_info=False, mutual_info_alpha=1.01, mutual_info_kernel_h=1, mutual_info_kernel_h_backward=1)
    new = dict(seed=0, num_runs=5, data_dir='Data', result_dir='Result', checkpoint_minutes=5, normalize='split')
    assert {name: flags[name] for name in list(published) + list(new)} == dict(published, **new)


# ---- the tables, against the paper's numbers ----

PATTERNS = {       # row: --test_type // 5
    2: 'SS TS ST',
    4: 'SSSS TTTS TTSS TSSS STTT SSTT SSST TSTS STST',
    6: 'SSSSSS TTTTTS TTTTSS TTTSSS TTSSSS TSSSSS STTTTT SSTTTT SSSTTT SSSSTT SSSSST TSTSTS',
    8: 'SSSSSSSS TTTTTTSS TTTTSSSS TTSSSSSS SSTTTTTT SSSSTTTT SSSSSSTT TSTSTSTS STSTSTST',
    9: 'SSSSSSSSS TTTTTTSSS TTTSSSSSS SSSTTTTTT SSSSSSTTT TSTSTSTST',
    17: 'SSSSSSSSSSSSSSSSS TTTTTTTTTTTTTSSSS TTTTTTTTTSSSSSSSS TTTTTSSSSSSSSSSSS SSSSSTTTTTTTTTTTT '
        'SSSSSSSSSTTTTTTTT SSSSSSSSSSSSSTTTT TSTSTSTSTSTSTSTST',
}
OFFICEHOME_SIX = 'TTSSSS TTTTTS TTTTSS TTTSSS TTSTTT TTSSTT TTSSST TTTSTS TTSTST SSSSTT SSSSST TSTSTS'
TABLES = [(None, depth, patterns.split()) for depth, patterns in sorted(PATTERNS.items())] + [
    ('officehome', 6, OFFICEHOME_SIX.split())]


@pytest.mark.parametrize('family, depth, patterns', TABLES, ids=str)
def test_transfer_configuration_of_every_number(family, depth, patterns):
    for test_type in range(5 * len(patterns)):
        assert env.pattern_from_test_type(test_type, family, depth) == patterns[test_type // 5]
    for test_type in (-1, 5 * len(patterns)):
        with pytest.raises(UserError, match='0 to %d' % (5 * len(patterns) - 1)):
            env.pattern_from_test_type(test_type, family, depth)


@pytest.mark.parametrize('name, pattern', [
    ('all', 'SSSSSS'), ('none', 'TTTTTT'), ('top2', 'TTTTSS'), ('bottom3', 'SSSTTT'), ('ALTERNATING', 'TSTSTS'),
    ('alt', 'TSTSTS'), ('ttsstt', 'TTSSTT')])
def test_transfer_configuration_by_name(name, pattern):
    assert env.pattern_from_name(name, 6) == pattern


@pytest.mark.parametrize('name', ['top0', 'top6', 'bottom6', 'top', 'top-1', 'top\u00b2', 'TTS', 'TTTTTTT', 'TTTTTX'])
def test_transfer_configuration_that_means_nothing(name):
    with pytest.raises(UserError, match='top1..top5'):
        env.pattern_from_name(name, 6)


TRAINING = {       # data type: learning rate, its decay, patience, batch, epochs per task
    'MNIST5': (1e-3, 1 / 250., 500, 10, 100), 'MNIST10': (1e-3, 1 / 250., 500, 10, 50),
    'CIFAR10_5': (2.5e-4, 1 / 1000., 2000, 20, 400), 'CIFAR10_10': (2.5e-4, 1 / 1000., 2000, 20, 200),
    'CIFAR100_10': (1e-4, 1 / 4000., 2000, 10, 2000), 'CIFAR100_20': (1e-4, 1 / 4000., 2000, 10, 2000),
    'CIFAR100_40': (1e-4, 1 / 4000., 2000, 10, 2000), 'OfficeHome': (2e-5, 1e-4, 1000, 16, 1000),
    'OfficeHome_Incremental': (2e-5, 1e-4, 1000, 16, 1000), 'STL10_15t': (1e-4, 0, 500, 10, 500),
    'STL10_20t': (1e-4, 0, 500, 10, 500), 'FASHION5': (1e-3, 1 / 250., 500, 10, 100),
    'FASHION10': (1e-3, 1 / 250., 500, 10, 100), 'DIGITS5': (1e-3, 1 / 250., 50, 10, 50),
}


@pytest.mark.parametrize('data_type', sorted(DATASETS))
def test_training_of_every_data_set(data_type):
    row = env.TRAINING[DATASETS[data_type].family]
    assert (row.lr, row.lr_decay, row.patience, row.batch_size, row.epochs) == TRAINING[data_type]
    assert (row.improvement, row.patience_multiplier) == (1.002, 1.5) and env.KEEP_PROBABILITY == 0.5


@pytest.mark.parametrize('data_type, depth, classes, features, convolutions, whole', [
    ('MNIST5', 2, 2, 3136, 52096, 152546), ('MNIST10', 2, 2, 3136, 52096, 152546),
    ('CIFAR10_5', 4, 2, 4096, 65568, 327906), ('CIFAR10_10', 4, 2, 4096, 65568, 327906),
    ('CIFAR100_10', 4, 10, 4096, 65568, 328426), ('CIFAR100_20', 6, 10, 2048, 287008, 418794),
    ('CIFAR100_40', 8, 10, 512, 582176, 615658), ('CIFAR100_10', 17, 10, 2048, 10998784, 13057794),
    ('OfficeHome', 4, 13, 4096, 1613312, 2679437), ('OfficeHome', 6, 13, 4096, 2793472, 3859597),
    ('OfficeHome_Incremental', 8, 13, 4096, 1315360, 2381485),
    ('STL10_20t', 6, 3, 2048, 287008, 551395), ('STL10_15t', 6, 5, 2048, 287008, 551429),
    ('STL10_20t', 9, 3, 2048, 480768, 745155), ('STL10_15t', 9, 5, 2048, 480768, 745189),
    ('FASHION5', 4, 2, 3136, 64992, 265890), ('DIGITS5', 4, 2, 128, 16368, 20562),
])
def test_size_of_one_network(data_type, depth, classes, features, convolutions, whole):
    dataset = DATASETS[data_type]
    net = env.build_net(env.network_of(dataset.family, data_type, depth, 'hps')[1], dataset.image_shape)
    assert net.num_features == features
    assert sum(int(np.prod(layer.shape)) + layer.out_channels for layer in net.layers) == convolutions
    assert count_of('STL', net, {0: classes}, {}, 'T' * depth) == whole


def test_default_depths():
    for data_type, dataset in DATASETS.items():
        expected = 2 if data_type.startswith('MNIST') else 6 if data_type.startswith('STL10') else 4
        assert env.network_of(dataset.family, data_type, -1, 'hps')[0] == expected


@pytest.mark.parametrize('family, depth', list(env.NETWORKS))
def test_deconvolution_gives_a_kernel_of_the_right_size(family, depth):
    row = env.NETWORKS[family, depth]
    assert {len(row.channels), len(row.pools), len(row.kernels)} == {depth}
    if depth == 17:
        assert not row.df_knowledge and not row.df_tensor
    else:
        assert len(row.df_tensor) == depth
        assert [2 * (size - 1) + 1 for size, _ in row.df_knowledge] == list(row.kernels)


@pytest.mark.parametrize('family, depth, presets', [
    ('cifar100', 4, '11 33 11+33'), ('cifar100', 6, ''), ('cifar100', 8, ''), ('officehome', 4, ''),
    ('officehome', 6, '55 22+33+44 44+55 22+33 33+44+55 22 33+55 22+44 22+33+44+55'), ('officehome', 8, '11+33+55+77'),
    ('stl10', 6, ''), ('stl10', 9, ''), ('mnist5', 2, ''), ('cifar10_5', 4, ''), ('digits5', 4, '')])
def test_skip_connections_of_every_preset(family, depth, presets):
    for preset, pairs in enumerate([''] + presets.split()):
        expected = tuple((int(pair[0]), int(pair[1])) for pair in pairs.split('+') if pair)
        assert env.skip_connections(family, depth, preset) == expected
    with pytest.raises(UserError, match='not defined for this network'):
        env.skip_connections(family, depth, len(presets.split()) + 1)


def test_seventeen_layers_always_have_skip_connections():
    for preset in (0, 7):
        assert env.skip_connections('cifar100', 17, preset) == ((1, 2), (3, 4), (7, 8), (11, 12), (15, 16))


def test_models_are_the_product_of_searches_and_mechanisms():
    names = {'STL', 'SNN', 'Hybrid_HPS', 'Hybrid_TF', 'Hybrid_DFCNN', 'APD', 'ChannelGate', 'ProgNN', 'EWC', 'DEN'} | {
        '%s_%s' % (search, mechanism) for search in ('LASEM', 'LASEMG', 'LASEM_fixed', 'DARTS', 'BruteForce')
        for mechanism in ('HPS', 'TF', 'DFCNN', 'APD')}
    assert set(env.MODELS) == names
    for spelling, name in [('hps', 'Hybrid_HPS'), ('TF', 'Hybrid_TF'), ('DFCNN', 'Hybrid_DFCNN'),
                           ('lasem_group_hps', 'LASEMG_HPS'), ('additive_param_decompose', 'APD'),
                           ('channel_gate', 'ChannelGate'), ('CHANNELGATE', 'ChannelGate'),
                           ('LASEM_FIXED_dfcnn', 'LASEM_fixed_DFCNN')]:
        assert env.canonical_model(spelling) == name


def test_tensor_factorization_has_a_smaller_head_on_stl10_20t_only():
    heads = {(data_type, mechanism): env.network_of('stl10', data_type, 6, mechanism)[1].hidden
             for data_type in ('STL10_15t', 'STL10_20t') for mechanism in env.MECHANISM_NAMES}
    assert {key for key, hidden in heads.items() if hidden == (128,)} == {('STL10_20t', 'tf')}
    assert set(heads.values()) == {(128,), (128, 16)}


def test_the_table_of_the_expandable_network():
    def row(family, depth):
        flags = main.parser().parse_args([])
        _, network = env.network_of(family, '', depth, 'den')
        options = env.method_options(flags, 'DEN', family, depth, network)
        return network.hidden, options['den_expansion'], options['den_split_cap']
    assert {key: row(*key) for key in env.NETWORKS if key[1] != 17} == {
        ('mnist5', 2): ((32,), 16, 16), ('mnist10', 2): ((32,), 16, 16), ('fashion', 4): ((64,), 16, 16),
        ('cifar10_5', 4): ((128,), 16, 16), ('cifar10_10', 4): ((128,), 16, 16), ('cifar100', 4): ((128,), 16, 16),
        ('cifar100', 6): ((64,), 16, 16), ('cifar100', 8): ((64,), 16, 16), ('officehome', 4): ((256, 64), 32, 32),
        ('officehome', 6): ((256, 64), 32, 32), ('officehome', 8): ((256, 64), 32, 32), ('stl10', 6): ((128, 16), 16, 16),
        ('stl10', 9): ((128, 16), 16, 16), ('digits5', 4): ((32,), 16, 16)}
    published = dict(l1_lambda=1e-6, l2_lambda=0.01, reg_lambda=0.5, gl_lambda=0.8, loss_threshold=0.01)
    assert {name: env.DEN[name] for name in published} == published
    assert env.DEN['den_stage_fractions'] == (0.15, 0.35, 0.25, 0.25)
    assert env.DEN_DRIFT_THRESHOLD == {'l2': (0.05, 0.05), 'cosine': (0.98, 0.01)}


def test_list_shows_everything(capsys):
    assert run(['--list']) == 0
    shown = capsys.readouterr().out
    for name in list(DATASETS) + list(env.MODELS):
        assert re.search(r'^  %s ' % name, shown, re.MULTILINE), name
    for family, depth, patterns in TABLES:
        title = '%s with %d layers' % (family, depth) if family else '%d layers' % depth
        table = shown.split('\n  %s:\n' % title)[1]
        rows = [line.split() for line in table.split('\n')[:len(patterns) + 1]]
        assert [(row[0], row[2]) for row in rows[:-1]] == [
            ('%d-%d' % (5 * place, 5 * place + 4), pattern) for place, pattern in enumerate(patterns)]
        assert not re.match(r'\d+-\d+$', rows[-1][0])      # the table ends here
    assert 'on STL10_20t, models ending in TF have hidden layers of 128 instead of 128,16' in shown
    assert 'on cifar100 with 4 layers, DEN has hidden layers of 128 instead of 64' in shown
    assert '(also: LASEM_GROUP_HPS)' in shown and '5,4,4,2,2' in shown


# ---- mistakes ----

MISTAKES = [      # options, split at each space, and a part of the line
    ('--data_type CIFAR100',
     'CIFAR100 is not known (did you mean CIFAR100_10?); choose one of: CIFAR100_10, CIFAR100_20'),
    ('--data_type DIGITS6', 'did you mean DIGITS5?'),
    ('--model_type LASEM_HP', 'LASEM_HP is not known (did you mean LASEM_HPS?); choose one of: '),
    ('--model_type DFCNN_tc2', 'Hybrid_DFCNN'),
    ('--data_type CIFAR100_10 --data_percent 5',
     '--data_percent 5: CIFAR100_10 has no such row; choose one of 2, 4, 6'),
    ('--data_type MNIST5 --data_percent 4', 'choose one of 1, 3, 5, 7, 9, 10, 30, 50, 70, 90, 100'),
    ('--test_type 45', '--test_type 45 has no transfer configuration for 4 layers; choose 0 to 44'),
    ('--test_type -1', 'choose 0 to 44'), ('--model_type LASEM_HPS --test_type -1', '--test_type -1'),
    ('--num_clayers 5', '--num_clayers 5 is not defined for DIGITS5; choose one of: 4'),
    ('--data_type OfficeHome --num_clayers 17', 'OfficeHome; choose one of: 4, 6, 8'),
    ('--transfer_config most', '--transfer_config most is not known for 4 layers; choose all, none, top1..top3'),
    ('--transfer_config TTSSS', '4 letters'),
    ('--model_type LASEM_HPS --transfer_config all', 'LASEM_HPS, which searches for it'),
    ('--model_type STL --transfer_config all', 'STL, which shares no layers'),
    ('--model_type DARTS_APD --apd_mode paper', '--apd_mode paper is not defined for DARTS_APD, which searches'),
    ('--channel_gate_mode papers', 'papers'),
    ('--skip_connect_test_type 4', '--skip_connect_test_type 4 is not defined for this network; choose one of: 0'),
    ('--data_type CIFAR100_10 --skip_connect_test_type 4', 'choose one of: 0, 1, 2, 3'),
    ('--cnn_padtype_valid', 'layer 2 shrinks images of 8x8 to nothing'),
    ('--data_type CIFAR100_10',
     'CIFAR-100: Data/cifar-100-python/train is missing; get cifar-100-python.tar.gz from https'),
    ('--data_type STL10_20t --data_dir elsewhere', 'elsewhere/stl10_binary/train_X.bin is missing'),
    ('--task_order_type 3', '--task_order_type 3 is not known; choose 0'),
    ('--num_tasks 6', '--num_tasks 6: DIGITS5 has 1 to 5 tasks'), ('--num_tasks 0', 'has 1 to 5 tasks'),
    ('--epochs_per_task 0', '--epochs_per_task 0: at least 1'), ('--epochs_per_task 2.5', 'invalid int value'),
    ('--num_runs 0', '--num_runs 0: at least 1'), ('--eval_interval 0', '--eval_interval 0: at least 1'),
    ('--early_stopping 0', '--early_stopping 0: at least 1'),
    ('--seed -1', '--seed -1: at least 0'), ('--seed 9223372036854775808', 'at most 2^63 - 1'),
    ('--checkpoint_minutes nan', '--checkpoint_minutes nan'), ('--checkpoint_minutes -1', 'at least 0'),
    ('--threads 0', '--threads 0: at least 1'), ('--gpu -2', '--gpu -2: -1 (the CPU) or different numbers from 0 on'),
    ('--gpu 0,-1', '--gpu 0,-1: -1 (the CPU) or'), ('--gpu 1,1', '--gpu 1,1: -1 (the CPU) or'),
    ('--gpu 0,1', '--gpu 0,1: a trial uses one GPU; for 2 trials side by side add --jobs 2'), ('--gpu 0,', 'invalid list of GPUs'),
    ('--jobs 0', '--jobs 0: at least 1'), ('--gpu_memory_fraction 1.5', '--gpu_memory_fraction 1.5: a share above 0'),
    ('--save_mat_name folder/x.mat', '--save_mat_name folder/x.mat: a plain file name'),
    ('--save_mat_name params --data_type STL10_15t', 'not "params"'),
    ('--save_mat_name params.mat', 'not "params"'), ('--save_mat_name temp_x.mat', 'not starting with "temp_"'),
    ('--save_mat_name ', 'a plain file name'), ('--save_mat_name .mat', 'a plain file name'),
    ('--save_mat_name ..', 'a plain file name'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type LASEM_HPS',
     'LASEM_HPS would search 131072 patterns of 17 layers; at most 512 are possible: use LASEMG'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type BruteForce_TF', 'at most 512'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type LASEMG_HPS --test_type 25', 'choose 0 to 24'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type DFCNN', 'Hybrid_DFCNN is not defined for 17 layers'),
    ('--data_type CIFAR100_10 --num_clayers 17 --model_type DARTS_DFCNN', 'not defined for 17 layers'),
    ('--model_type LASEMG_HPS --layer_groups 2,1',
     '--layer_groups 2,1: sizes of groups are needed that add up to 4'),
    ('--model_type LASEMG_HPS --layer_groups 4,0', '4,0: sizes'),
    ('--model_type LASEMG_HPS --layer_groups \xb2,2', 'sizes of groups'),
    ('--model_type LASEM_fixed_TF --em_maxP 2', '--em_maxP 2: a probability between 0 and 1'),
    ('--model_type LASEM_fixed_TF --em_maxP nan', '--em_maxP nan'),
    ('--model_type LASEM_fixed_TF --em_fix_maxC top4', '--em_fix_maxC top4 is not known for 4 layers'),
    ('--model_type LASEM_TF --em_cnt_prior --em_prior_init_cnt inf', '--em_prior_init_cnt inf'),
    ('--model_type LASEM_TF --em_prior_init_cnt -1', '--em_prior_init_cnt -1'),
    ('--model_type DARTS_HPS --darts_approx_order 3', '--darts_approx_order'),
    ('--model_type STL --stl_analysis', '--stl_task_to_learn -1: --stl_analysis needs the number of a task, 0 to 4'),
    ('--model_type STL --stl_analysis --stl_task_to_learn 3 --num_tasks 3', 'the number of a task, 0 to 2'),
    ('--stl_analysis --stl_task_to_learn 1', 'which is --model_type STL; Hybrid_HPS was asked for'),
    ('--model_type STL --stl_task_to_learn 1', '--stl_task_to_learn is a setting of --stl_analysis; add --stl_analysis'),
    ('--stl_total_data_ratio 0.5', '--stl_total_data_ratio is a setting of --stl_analysis'),
    ('--model_type STL --stl_analysis --stl_task_to_learn 1 --stl_total_data_ratio nan', 'between 0 and 1'),
    ('--model_type STL --stl_analysis --stl_task_to_learn 1 --early_stopping 3', 'leave it away'),
    ('--mutual_info_kernel_h 2', '--mutual_info_kernel_h is a setting of --mutual_info'),
    ('--mutual_info --mutual_info_alpha 0', '--mutual_info_alpha 0: a number greater than 0'),
    ('--mutual_info --mutual_info_kernel_h_backward nan', '--mutual_info_kernel_h_backward nan'),
    ('--tensorfactor_param_path x.mat', 'Hybrid_HPS has no tensor factors; use a model ending in TF'),
    ('--model_type LASEM_TF --tensorfactor_param_path x.mat', 'x.mat: there is no such file, neither below Result'),
    ('--model_type TF --tensorfactor_param_path .', 'a folder is none'),
    ('--model_type DEN --task_order_type 1', 'DEN learns each task once; use --task_order_type 0'),
    ('--model_type DEN --early_stopping 5', 'DEN hands on the last epoch of each task; leave --early_stopping away'),
    ('--model_type DEN --data_type CIFAR100_10 --num_clayers 17', 'DEN has no skip connections'),
    ('--model_type DEN --data_type CIFAR100_10 --skip_connect_test_type 1', 'DEN has no skip connections'),
    ('--model_type DEN --transfer_config top1', 'DEN, which shares all layers'),
]


@pytest.mark.parametrize('options, says', MISTAKES)
def test_a_mistake_gets_one_line(options, says, folder):
    is_refused(DIGITS + options.split(' '), says)
    assert os.listdir(str(folder)) == []


def is_refused(options, says):
    status, out, err = run_and_listen(options)
    assert (status, out) == (2, '') and err.startswith('error: ') and err.count('\n') == 1 and says in err, err


def test_lifelong_must_be_said(folder):
    for model_type in ('LASEM_HPS', 'DEN', 'EWC', 'ChannelGate'):
        is_refused([option for option in DIGITS if option != '--lifelong'] + ['--model_type', model_type, '--test_type', '0'],
                   '%s learns one task after the other; add --lifelong' % model_type)
    for options in (['--leep'], ['--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn', '1']):
        is_refused([word for word in DIGITS if word != '--lifelong'] + options, 'one after the other; add --lifelong')
    for option in ('--task_order_type 1', '--early_stopping 3', '--eval_interval 2'):
        is_refused([word for word in DIGITS if word != '--lifelong'] + option.split(), option.split()[0] + ' has no meaning where')
    assert os.listdir(str(folder)) == []


def test_one_output_layer_needs_equal_numbers_of_classes(folder, tmp_path_factory):
    data = tmp_path_factory.mktemp('data')
    data_files.officehome(data, domains=('Product',))
    is_refused(['--data_type', 'OfficeHome_Incremental', '--model_type', 'SNN', '--lifelong', '--data_dir', str(data)],
               'SNN has one output layer for all tasks, but their numbers of classes differ: 3, 4, 5, 6, 7, 8')
    assert os.listdir(str(folder)) == [] and os.listdir(str(data)) == ['OfficeHomeDataset_10072016']


def test_too_few_images_for_a_batch(folder, tmp_path_factory):
    data = tmp_path_factory.mktemp('data')
    per_class = np.full(65, 4)
    per_class[13] = 10
    data_files.officehome(data, domains=('Product',), per_class=per_class)
    is_refused(['--data_type', 'OfficeHome_Incremental', '--model_type', 'STL', '--lifelong', '--data_dir', str(data)],
               'task 0 has 10 training images, fewer than one batch of 16\n')


@pytest.mark.parametrize('content, says', [
    (b'nothing of MATLAB', 'is not a MATLAB file'), (b'', 'is not a MATLAB file'), (None, 'is damaged')])
def test_a_broken_result_file_is_refused_and_kept(content, says, folder):
    path = folder / 'digits.mat'
    if content is None:
        append_entry(str(path), {'fingerprint': 'x' * 64, 'values': np.arange(1000.)})
        content = path.read_bytes()[:3000]
    path.write_bytes(content)
    files = os.listdir(str(folder))
    is_refused(SHORT + ['--result_dir', '.'], 'digits.mat ' + says)
    assert os.listdir(str(folder)) == files and path.read_bytes() == content


def test_a_result_folder_that_is_a_file(folder):
    (folder / 'Result').write_text(u'a file')
    is_refused(SHORT, '--result_dir Result cannot be written')
    assert os.listdir(str(folder)) == ['Result'] and (folder / 'Result').read_text() == 'a file'


def test_options_without_effect_say_so(capsys, folder):
    options = '--dry_run --highway_connect_test_type 1 --phase1_max_epoch 3 --num_classes 2 --data_percent 4'
    assert run(DIGITS + options.split()) == 0
    assert capsys.readouterr().out.split('\n')[:4] == [
        '--highway_connect_test_type has no effect', '--phase1_max_epoch has no effect', '--num_classes has no effect',
        '--data_percent is ignored: DIGITS5 has no size table']


@pytest.mark.parametrize('gpu, inherited, expected', [
    (-1, None, '-1'), (-1, '0,1', '-1'), (0, None, '0'), (3, None, '3'), (0, '2,5', '2'),
    (1, '2, 5', '5'), (1, 'GPU-a,GPU-b', 'GPU-b'), (0, '', '-1'), (2, '-1', '-1'), (0, '4,-1,5', '4')])
def test_gpu_counts_the_visible_devices(gpu, inherited, expected):
    assert visible_devices(gpu, inherited) == expected


def test_gpu_that_is_not_visible(folder, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3,4')
    is_refused(SHORT + ['--gpu', '2'], '--gpu 2: only 2 devices visible (CUDA_VISIBLE_DEVICES=3,4); 0 is the first')
    assert os.listdir(str(folder)) == []


# ---- --dry_run ----

def test_dry_run(capsys, folder):
    assert run(DIGITS + ['--dry_run']) == 0
    fingerprint = experiment_of().fingerprint()[:8]
    assert capsys.readouterr().out == """\
Hybrid_HPS on DIGITS5, fingerprint %s
  task  classes  training  validation  test
  0     2        218       35          107
  1     2        218       35          107
  2     2        219       36          108
  3     2        218       35          107
  4     2        213       35          106
order of tasks: 0 1 2 3 4
  layer  kernel  channels  pool  output  shared
  0      3x3     1 -> 16   1     8x8     no
  1      3x3     16 -> 16  2     4x4     no
  2      3x3     16 -> 32  1     4x4     yes
  3      3x3     32 -> 32  2     2x2     yes
head: 128 -> 32 -> classes; padding SAME; skip connections: none
parameters: 47,258
50 epochs per task, batch 10, learning rate 0.001 / (1 + 0.004 * epoch), 5 trials, seed 0
""" % fingerprint
    assert os.listdir(str(folder)) == []


def test_dry_run_of_the_first_sample(capsys, folder):
    data_files.cifar100('Data')
    assert run(('--gpu 0 --data_type CIFAR100_10 --data_percent 4 --num_clayers 4 --model_type HPS --test_type 10 '
                '--lifelong --save_mat_name cifar100_hpsTop2.mat --dry_run').split()) == 0
    lines = capsys.readouterr().out.split('\n')
    assert lines[0].startswith('Hybrid_HPS on CIFAR100_10 at 4 %, fingerprint ')
    assert [line.split() for line in lines[2:12]] == [[str(task), '10', '170', '30', '40'] for task in range(10)]
    assert [line.split()[-1] for line in lines[14:18]] == ['no', 'no', 'yes', 'yes']
    assert lines[19] == 'parameters: 2,785,444'
    assert lines[20] == '2000 epochs per task, batch 10, learning rate 0.0001 / (1 + 0.00025 * epoch), 5 trials, seed 0'
    assert os.listdir(str(folder)) == ['Data']


def test_dry_run_of_a_network_that_grows(capsys, folder):
    assert run(DIGITS + '--model_type DEN --num_tasks 3 --dry_run'.split()) == 0
    lines = capsys.readouterr().out.rstrip().split('\n')
    convolutions = 9 * (16 + 16 * 16 + 16 * 32 + 32 * 32) + 16 + 16 + 32 + 32
    assert 'parameters: {:,} before units are added'.format(convolutions + 128 * 32 + 32 + 3 * (32 * 2 + 2)) in lines
    assert {'den_expansion: 16', 'den_drift_threshold: (0.05, 0.05)', 'gl_lambda: 0.8', 'den_split_cap: 16'} <= set(lines)


def test_dry_run_of_a_search(capsys, folder):
    assert run(DIGITS + '--model_type LASEMG_HPS --layer_groups 2,2 --num_tasks 2 --dry_run'.split()) == 0
    lines = capsys.readouterr().out.rstrip().split('\n')
    assert 'parameters: 24,756 if every layer is shared, 41,124 if none is' in lines
    assert [line.split()[-1] for line in lines if 'x3  ' in line] == 4 * ['searched']
    assert lines[-4:] == ['em_cnt_prior: False', 'em_prior_init_cnt: 1.0', 'groups: (2, 2)', 'reset_prior: False']


# ---- identity ----

@pytest.mark.parametrize('options', [
    '--seed 1', '--epochs_per_task 49', '--num_tasks 4', '--task_order_type 1', '--transfer_config top3',
    '--model_type TF', '--model_type STL', '--early_stopping 5', '--data_augment', '--leep', '--saveparam', '--mutual_info'])
def test_what_changes_the_numbers_changes_the_fingerprint(options):
    assert experiment_of(*options.split()).fingerprint() != experiment_of().fingerprint()


@pytest.mark.parametrize('options', [
    '--num_runs 3', '--threads 2', '--gpu 0', '--jobs 3', '--gpu 0,1 --jobs 2', '--gpu_memory_fraction 0.4', '--data_dir elsewhere', '--result_dir elsewhere', '--save_mat_name x.mat',
    '--checkpoint_minutes 0', '--quiet', '--restart', '--savegraph', '--tensorboard', '--epochs_per_task 50', '--num_tasks 5',
    '--test_type 14', '--transfer_config top2', '--transfer_config ttss', '--model_type hybrid_hps', '--num_clayers 4',
    '--data_type digits5', '--phase1_max_epoch 7', '--em_maxP 0.5', '--darts_approx_order 2', '--normalize train'])
def test_what_changes_no_number_does_not_change_the_fingerprint(options):
    assert experiment_of(*options.split()) == experiment_of()


def analysed(*options):
    return experiment_of('--model_type', 'STL', '--stl_analysis', '--stl_task_to_learn', '2', *options)


def test_the_stl_analysis_is_an_experiment_of_one_task():
    experiment = analysed()
    assert experiment.task_order == (2,) and len(experiment.class_counts) == 5
    assert (experiment.early_stopping, experiment.training.epochs) == (50, 5 * 50) and experiment.training.patience == 50
    fields = info(experiment)
    assert [(name, fields[name]) for name in fields if 'STL' in name] == [
        ('STL_analysis', True), ('STL_analysis_task', 2), ('STL_analysis_ratio', 1.), ('STL_analysis_comparable_epoch', 101)]
    assert fields['early_stopping_para'] == [50., 1.5]
    others = [analysed('--stl_total_data_ratio', '0.5'), analysed('--stl_task_to_learn', '1'), experiment_of('--model_type', 'STL')]
    assert len({one.fingerprint() for one in [experiment] + others}) == 4
    assert analysed('--stl_total_data_ratio', '1.5') == experiment and analysed('--stl_total_data_ratio', '-1').analyses[
        'stl_analysis']['ratio'] == 0
    assert (analysed('--epochs_per_task', '3').training.epochs, analysed('--epochs_per_task', '3').early_stopping) == (15, 3)


def test_settings_of_mutual_information_are_part_of_the_result():
    default, other = [experiment_of('--mutual_info', *more) for more in ((), ('--mutual_info_kernel_h', '2'))]
    assert default.fingerprint() != other.fingerprint() and info(other)['mutual_info_kernel_h'] == 2
    assert Experiment.from_json(other.to_json()) == other
    assert experiment_of().differences(json.loads(other.to_json())).startswith('analyses.mutual_info.alpha 1.01 instead of null')


def test_a_dry_run_tells_the_analyses(capsys, folder):
    options = '--model_type STL --stl_analysis --stl_task_to_learn 1 --stl_total_data_ratio 0.9 --data_augment --dry_run'
    assert run(DIGITS + options.split()) == 0
    assert capsys.readouterr().out.rstrip().split('\n')[-2:] == [
        'data_augment: True', 'STL analysis of task 1: 392 training images, patience 50 epochs, at most 250 epochs']
    assert os.listdir(str(folder)) == []


def test_normalisation_changes_the_fingerprint_where_images_are_standardised(tmp_path):
    data_files.cifar100(tmp_path)
    options = ['--data_type', 'CIFAR100_10', '--data_percent', '4', '--data_dir', str(tmp_path), '--normalize']
    split, train = [experiment_of(*options + [how]) for how in ('split', 'train')]
    assert (split.normalize, train.normalize) == ('split', 'train') and split.fingerprint() != train.fingerprint()


def test_fingerprint_depends_on_the_data_and_not_on_their_place(tmp_path):
    data_files.mnist(tmp_path / 'a', per_class_train=24)
    data_files.mnist(tmp_path / 'b', per_class_train=24, seed=1)
    shutil.copytree(str(tmp_path / 'a'), str(tmp_path / 'c'))
    options = ['--data_type', 'MNIST5', '--test_type', '0', '--data_percent']
    a, b, c, more = [experiment_of(*options + [percent, '--data_dir', str(tmp_path / place)]).fingerprint()
                     for place, percent in (('a', '1'), ('b', '1'), ('c', '1'), ('a', '3'))]
    assert a == c and len({a, b, more}) == 3


@pytest.mark.parametrize('model_type', sorted(env.MODELS))
def test_an_experiment_survives_json(model_type):
    order = '1' if env.MODELS[model_type].revisits else '0'
    experiment = experiment_of('--model_type', model_type, '--test_type', '1', '--task_order_type', order)
    again = Experiment.from_json(json.dumps(json.loads(experiment.to_json()), indent=1))
    assert again == experiment and again.fingerprint() == experiment.fingerprint()
    assert json.loads(experiment.to_json())['training']['lr'] == 1e-3


@pytest.mark.parametrize('model_type, published, paper', [
    ('ChannelGate', ['sparsity_loss_weight', 'gating_module_size', 'gating_temperature'],
     ['channel_gate_bias', 'channel_gate_hidden', 'channel_gate_mode', 'channel_gate_relevance', 'channel_gate_sparsity',
      'channel_gate_sparsity_start', 'channel_gate_temperature']),
    ('APD', ['lambda1', 'lambda2', 'conv_sharing'],
     ['lambda1', 'lambda2', 'apd_consolidate_every', 'apd_consolidate_spread', 'apd_mode', 'apd_tau_start',
      'apd_train_past_masks', 'conv_sharing'])])
def test_fields_of_both_modes(model_type, published, paper):
    options = ['--model_type', model_type, '--test_type', '0']
    default, asked, other = [experiment_of(*(options + more)) for more in (
        [], ['--apd_mode', 'published_code', '--channel_gate_mode', 'published_code'],
        ['--apd_mode', 'paper', '--channel_gate_mode', 'paper'])]
    assert default == asked and default.fingerprint() != other.fingerprint()
    for experiment, fields in ((default, published), (other, paper)):
        assert sorted(list(info(experiment))[17:]) == sorted(fields)
        assert Experiment.from_json(experiment.to_json()) == experiment


def test_differences_name_the_settings():
    other = json.loads(experiment_of('--seed', '1', '--epochs_per_task', '3', '--transfer_config', 'all').to_json())
    assert experiment_of().differences(other) == (
        'pattern "SSSS" instead of "TTSS", seed 1 instead of 0, '
        'training.epochs 3 instead of 50, training.patience 3 instead of 50')


@pytest.mark.parametrize('tasks, kind, order', [
    (5, 0, [0, 1, 2, 3, 4]), (5, 1, [0, 1, 0, 1, 2, 3, 4]), (3, 2, [0, 1, 2, 0, 1, 2]), (1, 1, [0]),
    (10, 1, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]), (10, 2, 2 * list(range(10)))])
def test_order_of_tasks(tasks, kind, order):
    assert list(task_order(tasks, kind)) == order


# ---- whole runs ----

@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A result folder with one experiment of one trial, and what training it said."""
    place, here = tmp_path_factory.mktemp('trained'), os.getcwd()
    handler = signal.getsignal(signal.SIGINT)
    os.chdir(str(place))
    try:
        status, out, err = run_and_listen(SHORT + ['--num_runs', '1', '--gpu', '0', '--savegraph', '--tensorboard'])
    finally:
        os.chdir(here)
    assert signal.getsignal(signal.SIGINT) is handler
    return SimpleNamespace(folder=place, status=status, out=out, err=err, entry=entries(str(place / MAT))[0])


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """A copy of it as current folder: Path."""
    shutil.copytree(str(trained.folder / 'Result'), str(tmp_path / 'Result'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_training(monkeypatch):
    """A trial that is trained fails the test."""
    monkeypatch.setattr(train_wrapper._Run, '_train',
                        lambda run, number, progress: pytest.fail('trial %d is trained' % number))


def stored():
    return entries(MAT)


def same_numbers(one, other):
    """Whether two trials' structs agree in everything but time."""
    assert one.keys() == other.keys()
    return all(np.array_equal(one[name], other[name]) for name in one if name != 'training_time')


def test_what_a_run_says(trained):
    assert (trained.status, trained.err) == (0, '')
    lines = trained.out.rstrip().split('\n')
    assert lines[0] == 'Hybrid_HPS on DIGITS5: 2 tasks, 2 epochs each, 1 trial'
    assert lines[1].startswith('working files and log: ' + os.path.join('Result', 'digits', 'Hybrid_HPS-'))
    assert [line for line in lines if 'GPU' in line] == [
        '--gpu 0: this TensorFlow sees no usable GPU; training on the CPU']
    assert lines[-2] == 'Hybrid_HPS over 1 trial in ' + MAT
    assert re.match('metrics, comparisons and plots: PYTHONPATH=.* python3 -m utils.report %s$' % re.escape(MAT), lines[-1])
    assert sum(line.startswith('trial 1 of 1, task ') for line in lines) >= 2
    assert [line.split()[0] for line in lines[-8:-5]] == ['0', '1', 'mean']      # of the table


def test_result_file(trained):
    entry, info = trained.entry, trained.entry['model_specific_info']
    texts = [info[name] for name in ('architecture', 'padding_type', 'hidden_activation')]
    assert texts == ['hybrid_hps_cnn', 'SAME', 'relu']
    for name, expected in [('learning_rate', 1e-3), ('early_stopping_para', [2, 1.5]), ('image_dimension', [8, 8, 1]),
                           ('batch_size', 10), ('hidden_layer', 32), ('channel_sizes', [16, 16, 32, 32]),
                           ('kernel_sizes', [3] * 8), ('pooling_size', [1, 1, 2, 2, 1, 1, 2, 2]),
                           ('conv_sharing', [0, 0, 1, 1]), ('number_of_trainable_parameters', 27236)]:
        np.testing.assert_array_equal(info[name].ravel(), expected, err_msg=name)
    run_struct, = entry['result_of_each_run']
    train, valid, test = [run_struct['history_%s_error' % part] for part in ('train', 'validation', 'test')]
    assert train.shape == valid.shape == test.shape == (5, 3)
    assert not test[:3, 1].any() and test[3:, 1].all() and 0.3 < test[0, 0] < 0.7
    assert run_struct['num_epoch'] == 4 and run_struct['task_changed_epoch'].tolist() == [[1, 3]]
    assert run_struct['LEEP_score_trainset'].shape == (2, 2)
    np.testing.assert_array_equal(entry['best_test_error_each_task'], run_struct['history_best_test_error'][:, [2, 4]])
    np.testing.assert_array_equal(entry['test_error_at_last_epoch'], test[-1:, :2])
    np.testing.assert_array_equal(entry['accuracy_matrix'][0], [[test[2, 0], np.nan], test[4, :2]])
    assert entry['task_order'].tolist() == [[0, 1]] and entry['train_valid_data_group'].tolist() == [[0]]
    experiment = experiment_of('--num_tasks', '2', '--epochs_per_task', '2')
    assert entry['fingerprint'] == experiment.fingerprint() and len(entry['run_id']) == 32
    assert (entry['data_type'], entry['chosen_config']) == ('DIGITS5', 'TTSS')
    assert entry['seed'] == 0 and entry['schema_version'] == 1
    assert entry['versions']['tensorflow'] == tensorflow_version()
    assert entry['command'].startswith('main.py --data_type DIGITS5 ')


ANALYSES = ['--saveparam', '--leep', '--mutual_info']


def test_analyses_of_a_finished_experiment_are_not_left_out(trained, copy):
    """Another experiment: trained by itself, to the same accuracies, with its parameter files and fields."""
    status, out, err = run_and_listen(SHORT + ['--num_runs', '1'] + ANALYSES)
    assert (status, err) == (0, '') and 'parameter files: %s\n' % os.path.join('Result', 'params', 'digits5_100p_HPS_t10') in out
    first, more = stored()
    assert more['fingerprint'] != first['fingerprint'] == trained.entry['fingerprint']
    np.testing.assert_array_equal(more['accuracy_matrix'], first['accuracy_matrix'])
    one, other = [entry['result_of_each_run'][0] for entry in (first, more)]
    np.testing.assert_array_equal(one['history_train_error'], other['history_train_error'])
    assert set(other) - set(one) == {'mutual_info_input', 'mutual_info_output'} and other['mutual_info_input'].shape == (2, 4)
    assert not one['LEEP_score_testset'].any() and np.count_nonzero(other['LEEP_score_testset']) == 1
    assert more['parameter_folder'] == os.path.join('params', 'digits5_100p_HPS_t10')
    names = ['final_model_parameter.mat', 'model_parameter_taskC0_task0.mat', 'model_parameter_taskC1_task1.mat']
    assert sorted(os.listdir(os.path.join('Result', more['parameter_folder'], 'run0'))) == names
    assert 'nothing to train' in run_and_listen(SHORT + ['--num_runs', '1'] + ANALYSES)[1]
    assert os.listdir(os.path.join('Result', 'params')) == ['digits5_100p_HPS_t10']


def test_the_folder_of_parameter_files_is_remembered(folder, pretended):
    pretended.statuses[0] = EXIT_INTERRUPTED
    assert run(SHORT + ['--num_runs', '2', '--saveparam']) == EXIT_INTERRUPTED
    assert run(SHORT + ['--num_runs', '1', '--saveparam', '--seed', '1']) == EXIT_INTERRUPTED      # another one: a folder of its own
    pretended.statuses.clear()
    for options in (['--num_runs', '2'], ['--num_runs', '1', '--seed', '1'], ['--num_runs', '3']):
        assert run_and_listen(SHORT + options + ['--saveparam'])[0] == 0
    assert sorted(os.listdir(os.path.join('Result', 'params'))) == ['digits5_100p_HPS_t10', 'digits5_100p_HPS_t10a']
    assert [entry['parameter_folder'] for entry in stored()] == [
        os.path.join('params', name) for name in ('digits5_100p_HPS_t10', 'digits5_100p_HPS_t10a')]


def test_a_folder_of_parameter_files_that_cannot_be(folder):
    (folder / 'Result').mkdir()
    (folder / 'Result' / 'params').write_text(u'a file')
    is_refused(SHORT + ['--saveparam'], 'Result/params cannot be written')


def test_a_file_that_is_no_parameter_file(folder):
    (folder / 'Result').mkdir()
    append_entry(MAT, {'fingerprint': 'x' * 64})
    (folder / 'text.mat').write_text(u'text')
    tensors = SHORT + ['--model_type', 'TF', '--tensorfactor_param_path']
    is_refused(tensors + ['digits.mat'], 'Result/digits.mat is not a parameter file that --saveparam wrote')
    is_refused(tensors + ['text.mat'], 'text.mat is not a MATLAB file of version 5')


def test_run_folder(trained):
    experiment = experiment_of('--num_tasks', '2', '--epochs_per_task', '2')
    result = trained.folder / 'Result'
    assert not [name for name in os.listdir(str(result)) if name.startswith('temp_')]
    place = result / 'digits' / ('Hybrid_HPS-' + experiment.fingerprint()[:8])
    config = json.loads((place / 'config.json').read_text())
    assert Experiment.from_json(json.dumps(config['experiment'])) == experiment
    assert config['finished'] and config['run_id'] == trained.entry['run_id']
    assert config['fingerprint'] == experiment.fingerprint()
    assert config['settings']['threads'] == 1 and config['host']['cores'] and config['versions']['tensorflow']
    log = (place / 'log.txt').read_text()
    for line in ('start: main.py --data_type DIGITS5 ', 'trial 0: learned task 0 (position 0): test accuracy ',
                 'trial 0: learned task 1 (position 1)', 'trial 0: finished'):
        assert re.search(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d %s' % re.escape(line), log, re.MULTILINE), line
    matrix = [line.split(',') for line in (place / 'trial0' / 'accuracy_matrix.csv').read_text().split()]
    assert matrix[0] == ['after_position', 'task_of_position_0', 'task_of_position_1']
    np.testing.assert_array_equal(np.array(matrix[1:], float)[:, 1:], trained.entry['accuracy_matrix'][0])
    history = (place / 'trial0' / 'history.csv').read_text().split()
    assert history[0] == 'task_trained,epoch,task_evaluated,split,accuracy' and len(history) == 1 + 3 * (3 * 1 + 2 * 2)
    value = trained.entry['result_of_each_run'][0]['history_validation_error'][4, 0]
    assert '1,4,0,valid,%r' % float(value) in history
    assert not (place / 'trial0' / 'checkpoint').exists()
    for task in ('task0', 'task1'):
        events, = os.listdir(str(result / 'graphs' / 'hybrid_hps_cnn' / 'run0' / task))
        assert events.startswith('events.out.tfevents')
    assert len(list((place / 'trial0').glob('events.out.tfevents.*'))) == 1
    assert 'to watch it: tensorboard --logdir %s\n' % (place.relative_to(trained.folder)) in trained.out


def test_finished_experiment_is_said_to_be_finished(copy, no_training):
    content = (copy / 'Result' / 'digits.mat').read_bytes()
    said = '%s already holds this experiment with 1 trial; nothing to train (--restart trains it again)\n' \
           'metrics, comparisons and plots: %s\n' % (MAT, command_for(MAT))
    assert run_and_listen(SHORT + ['--num_runs', '1']) == (0, said, '')
    shutil.rmtree(str(copy / 'Result' / 'digits'))
    assert imports_nothing_of_tensorflow(SHORT + ['--num_runs', '1']) == (0, said)
    assert (copy / 'Result' / 'digits.mat').read_bytes() == content and not (copy / 'Result' / 'digits').exists()


def test_more_trials_and_a_second_experiment(trained, copy):
    """One trial is there; another experiment is appended; then the first is given a second trial."""
    assert run_and_listen(SHORT + ['--num_runs', '1', '--seed', '1', '--quiet'])[::2] == (0, '')
    first, other = stored()
    assert first['run_id'] == trained.entry['run_id'] != other['run_id']
    assert not same_numbers(first['result_of_each_run'][0], other['result_of_each_run'][0])

    status, out, err = run_and_listen(SHORT + ['--num_runs', '2', '--quiet'])
    assert (status, err) == (0, '') and out.startswith('mean (std) over 2 trials')
    assert 'epoch' not in out and out.endswith('Hybrid_HPS over 2 trials in %s\n' % MAT)
    longer, unchanged = stored()
    assert unchanged['run_id'] == other['run_id'] and longer['run_id'] == trained.entry['run_id']
    old, new = longer['result_of_each_run']
    assert same_numbers(old, trained.entry['result_of_each_run'][0])
    assert old['training_time'] == trained.entry['training_time']
    assert not same_numbers(old, new)
    assert longer['train_valid_data_group'].tolist() == [[0, 1]] and longer['accuracy_matrix'].shape == (2, 2, 2)
    times = longer['training_time'].ravel()
    assert times.shape == (2,) and np.isclose(longer['training_time_stddev'], abs(times[0] - times[1]) / 2 ** 0.5)


def test_a_deleted_result_file_is_rebuilt(trained, copy, no_training):
    os.remove(MAT)
    status, out, err = run_and_listen(SHORT + ['--num_runs', '1'])
    assert (status, err) == (0, '') and '(1 already trained)' in out
    entry, = stored()
    np.testing.assert_equal({name: value for name, value in entry.items() if name != 'command'},
                            {name: value for name, value in trained.entry.items() if name != 'command'})


# ---- whole runs with trials that only pretend ----

@pytest.fixture
def pretended(trained, monkeypatch):
    """Trials that take their record from `trained` instead of training; `statuses` says which end otherwise."""
    record, = trained.folder.glob('Result/digits/*/trial0/record.npz')
    statuses, trials = {}, []

    def train(run, number, progress):
        trials.append(number)
        if statuses.get(number, 0) == 0:
            with np.load(str(record)) as content:
                arrays = dict(content, trial=np.array(number))
            place = os.path.join(run.place.run, 'trial%d' % number)
            os.makedirs(place)
            np.savez(os.path.join(place, 'unfinished.npz'), **arrays)
            os.replace(os.path.join(place, 'unfinished.npz'), os.path.join(place, 'record.npz'))      # the parent reads it
        return statuses.get(number, 0)
    monkeypatch.setattr(train_wrapper._Run, '_train', train)
    return SimpleNamespace(statuses=statuses, trials=trials)


def test_a_failed_trial_does_not_cost_the_others(folder, pretended):
    pretended.statuses[1] = EXIT_FAILED
    status, _, err = run_and_listen(SHORT + ['--num_runs', '3'])
    assert status == EXIT_FAILED and err == '1 trial failed (1); the same command tries them again\n'
    assert stored()[0]['train_valid_data_group'].tolist() == [[0, 2]]
    pretended.statuses.clear()
    del pretended.trials[:]
    assert run_and_listen(SHORT + ['--num_runs', '2'])[0] == 0 and pretended.trials == [1]
    entry, = stored()      # the third trial is not lost though only two were asked for now
    assert entry['train_valid_data_group'].tolist() == [[0, 1, 2]]


def test_an_interrupted_run_goes_on(folder, pretended):
    pretended.statuses[1] = EXIT_INTERRUPTED
    status, _, err = run_and_listen(SHORT + ['--num_runs', '3'])
    assert status == EXIT_INTERRUPTED and err == 'interrupted; the same command resumes it\n'
    assert sorted(name for name in os.listdir('Result') if not name.startswith('.')) == ['digits', 'temp_digits.mat']
    pretended.statuses.clear()
    del pretended.trials[:]
    assert run_and_listen(SHORT + ['--num_runs', '3'])[0] == 0 and pretended.trials == [1, 2]
    assert sorted(name for name in os.listdir('Result') if not name.startswith('.')) == ['digits', 'digits.mat']


def test_restart_trains_again_and_appends(copy, pretended, trained):
    assert run_and_listen(SHORT + ['--num_runs', '1', '--restart'])[::2] == (0, '') and pretended.trials == [0]
    first, again = stored()
    assert first['run_id'] == trained.entry['run_id'] != again['run_id']
    assert first['fingerprint'] == again['fingerprint']
    assert run_and_listen(SHORT + ['--num_runs', '2'])[0] == 0 and pretended.trials == [0, 1]
    first, longer = stored()
    assert longer['run_id'] == again['run_id'] and longer['train_valid_data_group'].tolist() == [[0, 1]]
    assert first['train_valid_data_group'].tolist() == [[0]]


def test_an_interrupted_restart_goes_on_and_appends(copy, pretended, trained):
    pretended.statuses[0] = EXIT_INTERRUPTED
    status, _, err = run_and_listen(SHORT + ['--num_runs', '1', '--restart'])
    assert status == EXIT_INTERRUPTED and err == 'interrupted; the same command without --restart resumes it\n'
    assert len(stored()) == 1
    pretended.statuses.clear()
    assert run_and_listen(SHORT + ['--num_runs', '1'])[0] == 0 and pretended.trials == [0, 0]
    first, again = stored()
    assert first['run_id'] == trained.entry['run_id'] != again['run_id']
    assert 'nothing to train' in run_and_listen(SHORT + ['--num_runs', '1'])[1] and len(stored()) == 2


def test_other_experiments_under_the_same_name_are_mentioned(folder, pretended):
    pretended.statuses[0] = EXIT_INTERRUPTED
    assert run_and_listen(SHORT + ['--num_runs', '1', '--seed', '1'])[0] == EXIT_INTERRUPTED
    pretended.statuses.clear()
    damaged = folder / 'Result' / 'digits' / 'damaged'
    damaged.mkdir()
    (damaged / 'config.json').write_text(u'{')
    status, out, _ = run_and_listen(SHORT + ['--num_runs', '1'])
    assert status == 0 and out.startswith('note: %s also has an unfinished experiment with other settings: seed 1 '
                                          'instead of 0\n' % os.path.join('Result', 'digits'))
    assert run_and_listen(SHORT + ['--num_runs', '1', '--seed', '1'])[0] == 0
    assert [entry['seed'].item() for entry in stored()] == [0, 1]


@pytest.fixture
def child(tmp_path, monkeypatch):
    """Replaces main.py in the children by a script: function of its text."""
    def replace(text):
        path = tmp_path / 'child.py'
        path.write_text(u'import json, os, signal, sys, time\n'
                        u'tell = lambda **what: print(json.dumps(what), flush=True)\n' + text)
        monkeypatch.setattr(train_wrapper, 'MAIN', str(path))
    return replace


def test_what_every_trial_says_is_said_once(folder, child):
    child(u"tell(note='devices ' + os.environ['CUDA_VISIBLE_DEVICES'])\ntell(failed='no reason')\nsys.exit(1)\n")
    status, out, err = run_and_listen(SHORT + ['--num_runs', '2'])
    assert status == EXIT_FAILED and out.count('devices -1\n') == 1 and 'Result/digits.mat' not in out
    assert ['error: trial %d: no reason (the others go on;' % number in err for number in (0, 1)] == [True, True]
    assert err.endswith('2 trials failed (0, 1); the same command tries them again\n') and err.count('\n') == 3
    assert not os.path.exists(MAT)


def test_a_refused_gpu_is_named_once_and_recorded(folder, child):
    child(u"tell(device={'name': 'card %s' % sys.argv[3]})\ntell(error='the GPU computes wrongly')\nsys.exit(2)\n")
    status, _, err = run_and_listen(SHORT + ['--num_runs', '3'])
    assert status == EXIT_FAILED and err == ('error: trial 0: the GPU computes wrongly\n3 trials failed (0, 1, 2); the same '
                                             'command tries them again\n')
    path, = glob.glob(os.path.join('Result', 'digits', '*', 'config.json'))
    first = config_of(path)
    assert first['gpu_of_trial'] == {str(number): {'name': 'card %d' % number} for number in range(3)}
    child(u"tell(device={'name': 'another'})\nsys.exit(1)\n")
    run_and_listen(SHORT + ['--num_runs', '1'])
    second = config_of(path)
    assert second['gpu_of_trial'] == dict(first['gpu_of_trial'], **{'0': {'name': 'another'}})
    assert second['run_id'] == first['run_id']


def config_of(path):
    with open(path) as stream:
        return json.load(stream)


def test_a_killed_trial_gets_one_line(folder, child):
    child(u'os.kill(os.getpid(), signal.SIGKILL)\n')
    status, _, err = run_and_listen(SHORT + ['--num_runs', '1'])
    assert status == EXIT_FAILED and err.startswith('error: trial 0 ended with signal 9; the same command resumes it')


def test_words_that_are_no_message_of_a_trial_are_passed_over(folder, child):
    child(u"print('a library speaks')\nprint(7, flush=True)\ntell(failed='no reason')\n"
          u"print('cut off', end='', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    status, _, err = run_and_listen(SHORT + ['--num_runs', '1'])
    assert status == EXIT_FAILED and err.startswith('error: trial 0: no reason (') and err.count('\n') == 2


def test_a_signal_stops_the_trial_and_starts_no_other(folder, child):
    child(u'signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n'
          u'os.kill(os.getppid(), signal.SIGTERM)\ntime.sleep(60)\n')
    status, _, err = run_and_listen(SHORT + ['--num_runs', '2'])
    assert (status, err) == (EXIT_INTERRUPTED, 'interrupted; the same command resumes it\n')
    run_folder, = (folder / 'Result' / 'digits').iterdir()
    assert [path.name for path in run_folder.glob('trial*')] == ['trial0']


# ---- one experiment twice at once ----

def test_the_second_of_two_runs_waits_aloud_and_then_names_the_first(folder, monkeypatch):
    monkeypatch.setattr(trial_process, 'LOCK_SECONDS', 0.4)
    monkeypatch.setattr(trial_process, 'SILENT_SECONDS', 0.2)
    run_folder = os.path.join('Result', 'digits', experiment_of(*SHORT[len(DIGITS):]).folder_name())
    os.makedirs(run_folder)
    lock = trial_process.hold(run_folder, 'this experiment', pytest.fail)
    status, out, err = run_and_listen(SHORT)
    who = 'process %d on %s holds %s' % (os.getpid(), platform.node(), run_folder)
    assert (status, err) == (2, 'error: this experiment is already running: %s\n' % who)
    assert out == who + '; waiting up to 0 seconds\n'
    lock.release()
    assert trial_process.hold(run_folder, 'this experiment', pytest.fail).is_locked


def test_a_missing_library_gets_one_line(tmp_path):
    """Not a traceback."""
    (tmp_path / 'sitecustomize.py').write_text(
        u'import sys\n'
        u'class Hide(object):\n'
        u'    def find_spec(self, name, path=None, target=None):\n'
        u'        if name == "psutil":\n'
        u'            raise ModuleNotFoundError("No module named " + name, name=name)\n'
        u'sys.meta_path.insert(0, Hide())\n')
    child = subprocess.Popen([sys.executable, main.__file__, '--data_type', 'DIGITS5'], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(tmp_path)))
    out, err = [text.decode('utf-8') for text in child.communicate()]
    assert (child.returncode, out) == (2, '')
    assert err == 'error: psutil is not installed for this Python; run: python3 -m pip install -r requirements.txt\n'
