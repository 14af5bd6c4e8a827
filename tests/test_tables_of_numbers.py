"""The tables of utils_env_cl.py against the papers' and the authors' release's numbers."""
import re

import numpy as np
import pytest

from classification.gen_data import DATASETS
from classification.model.registry import MODELS, canonical_model, default_options
from classification.trial.count_parameters import count_of
from tests.support.commands import run
from utils import utils_env_cl as env
from utils.utils import UserError

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
    ('all', 'SSSSSS'), ('none', 'TTTTTT'), ('top2', 'TTTTSS'), ('bottom3', 'SSSTTT'),
    ('ALTERNATING', 'TSTSTS'), ('alt', 'TSTSTS'), ('ttsstt', 'TTSSTT')])
def test_transfer_configuration_by_name(name, pattern):
    assert env.pattern_from_name(name, 6) == pattern


@pytest.mark.parametrize('name', ['top0', 'top6', 'bottom6', 'top', 'top-1', 'top\u00b2', 'TTS', 'TTTTTTT',
                                  'TTTTTX'])
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


@pytest.mark.parametrize('data_type', sorted(TRAINING))
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
    net = env.build_net(env.network_of(dataset.family, data_type, depth)[1], dataset.image_shape)
    assert net.num_features == features
    assert sum(int(np.prod(layer.shape)) + layer.out_channels for layer in net.layers) == convolutions
    assert count_of('STL', net, {0: classes}, {}, 'T' * depth) == whole


def test_default_depths():
    for data_type in TRAINING:
        dataset, expected = DATASETS[data_type], 2 if data_type.startswith(
            'MNIST') else 6 if data_type.startswith('STL10') else 4
        assert env.network_of(dataset.family, data_type, -1)[0] == expected


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
    ('officehome', 6, '55 22+33+44 44+55 22+33 33+44+55 22 33+55 22+44 22+33+44+55'),
    ('officehome', 8, '11+33+55+77'),
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
    names = {'STL', 'SNN', 'Hybrid_HPS', 'Hybrid_TF', 'Hybrid_DFCNN', 'APD', 'ChannelGate', 'ProgNN', 'EWC',
             'DEN'} | {
        '%s_%s' % (search, mechanism) for search in ('LASEM', 'LASEMG', 'LASEM_fixed', 'DARTS', 'BruteForce')
        for mechanism in ('HPS', 'TF', 'DFCNN', 'APD')}
    assert names <= set(MODELS)
    for spelling, name in [('hps', 'Hybrid_HPS'), ('TF', 'Hybrid_TF'), ('DFCNN', 'Hybrid_DFCNN'),
                           ('lasem_group_hps', 'LASEMG_HPS'), ('additive_param_decompose', 'APD'),
                           ('channel_gate', 'ChannelGate'), ('CHANNELGATE', 'ChannelGate'),
                           ('LASEM_FIXED_dfcnn', 'LASEM_fixed_DFCNN')]:
        assert canonical_model(spelling) == name


def test_tensor_factorization_has_a_smaller_head_on_stl10_20t_only():
    heads = {(data_type, name): model.network(data_type, 'stl10', 6, env.NETWORKS['stl10', 6]).hidden
             for data_type in ('STL10_15t', 'STL10_20t') for name, model in MODELS.items()}
    assert {key for key, hidden in heads.items() if hidden == (128,)} == {
        ('STL10_20t', name) for name in MODELS if name.endswith('_TF')}
    assert set(heads.values()) == {(128,), (128, 16)}


def test_the_table_of_the_expandable_network():
    def row(family, depth):
        network = MODELS['DEN'].network('', family, depth, env.NETWORKS[family, depth])
        options = default_options('DEN', env.build_net(network, (128, 128, 3)), family=family)
        return network.hidden, options['den_expansion'], options['den_split_cap']
    assert {key: row(*key) for key in env.NETWORKS if key[1] != 17} == {
        ('mnist5', 2): ((32,), 16, 16), ('mnist10', 2): ((32,), 16, 16), ('fashion', 4): ((64,), 16, 16),
        ('cifar10_5', 4): ((128,), 16, 16), ('cifar10_10', 4): ((128,), 16, 16),
        ('cifar100', 4): ((128,), 16, 16),
        ('cifar100', 6): ((64,), 16, 16), ('cifar100', 8): ((64,), 16, 16),
        ('officehome', 4): ((256, 64), 32, 32),
        ('officehome', 6): ((256, 64), 32, 32), ('officehome', 8): ((256, 64), 32, 32),
        ('stl10', 6): ((128, 16), 16, 16), ('stl10', 9): ((128, 16), 16, 16), ('digits5', 4): ((32,), 16, 16)}
    authors = dict(reg_lambda=0.5, l2_lambda=1e-4)
    assert {name: env.DEN[name] for name in authors} == authors
    assert env.DEN['den_stage_fractions'] == (0.15, 0.35, 0.25, 0.25)
    assert env.DEN_DRIFT_THRESHOLD == {'l2': (0.05, 0.05), 'cosine': (0.98, 0.01)}


def test_list_shows_everything(capsys):
    assert run(['--list']) == 0
    shown = capsys.readouterr().out
    for name in list(DATASETS) + list(MODELS):
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
