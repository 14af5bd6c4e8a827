"""main.py --from_config: what an earlier run's config.json says is run, and what differs is said."""
import glob
import json

import pytest

from classification import gen_data
from classification.experiment.experiment import Experiment
from classification.experiment.flags import parser
from classification.experiment.resolve import resolve
from classification.results.mat_file import entries
from classification.runs import from_config
from tests.support.commands import QUICK, example, experiment_of, is_refused, run_and_listen
from tests.support.own_images import classes_in
from tests.support.result_files import same_entry
from utils import utils_env_cl as env

EWC = QUICK + ['--model_type', 'EWC', '--test_type', '3', '--set', 'ewc_mode=online',
               '--set', 'ewc_gamma=0.5', '--num_tasks', '2', '--epochs_per_task', '1',
               '--save_mat_name', 'x.mat', '--quiet']


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, train_here):
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*options):
    status, out, err = run_and_listen(list(options))
    assert (status, err) == (0, ''), err
    return out


def config_of(name='x', number=0):
    """Path of a run's config.json."""
    return sorted(glob.glob('Result/%s/*/config.json' % name))[number]


def changed(change, path='changed.json'):
    """Path of a copy of the config.json that `change` was done to."""
    with open(config_of()) as stream:
        config = json.load(stream)
    change(config)
    with open(path, 'w') as stream:
        json.dump(config, stream)
    return path


def experiment_in(path):
    with open(path) as stream:
        return Experiment.from_json(json.dumps(json.load(stream)['experiment']))


def test_it_is_the_same_experiment(here):
    said(*EWC)
    path = config_of()
    out = said('--from_config', path)
    assert (out.startswith('%s: the same experiment, of the same origin\n' % path)
            and 'nothing to train' in out)
    said('--from_config', path, '--save_mat_name', 'y.mat')
    assert experiment_in(config_of('y')) == experiment_in(path)
    same_entry(entries('Result/x.mat')[0], entries('Result/y.mat')[0])
    # the command that is stored needs no config.json
    assert entries('Result/y.mat')[0]['command'].startswith('main.py --data_type DIGITS5')
    assert 'from_config' not in entries('Result/y.mat')[0]['command']


def test_flags_beside_it_win(here):
    said(*EWC)
    path = config_of()
    out = said('--from_config', path, '--seed', '3', '--set', 'ewc_gamma=0.7', '--test_type', '2',
               '--dry_run')
    assert 'seed 3' in out and 'ewc_gamma: 0.7\n' in out and 'ewc_mode: online\n' in out
    assert 'fisher_multiplier: 1000.0\n' in out
    assert ('%s has other settings: options.ewc_gamma 0.5 instead of 0.7, options.fisher_multiplier 100000.0 '
            'instead of 1000.0, seed 0 instead of 3\n' % path) in out
    assert '2 trials' in said('--from_config', path, '--num_runs=2', '--dry_run')


def test_a_grid_over_what_a_config_says(here):
    said(*EWC)
    out = said('--from_config', config_of(), '--grid', 'ewc_gamma=0.1,0.9', '--grid', 'epochs_per_task=1,2',
               '--dry_run')
    assert '4 combinations' in out and 'ewc_gamma' in out


def test_what_another_version_would_resolve_otherwise(here, monkeypatch):
    """Defaults that changed meanwhile are taken from the config, where nothing of the experiment is
    overridden."""
    said(*QUICK + ['--model_type', 'LASEM_TF', '--num_tasks', '1', '--epochs_per_task', '1',
                   '--save_mat_name', 'x.mat'])
    path = config_of()
    monkeypatch.setitem(env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=1e-5, batch_size=3))
    options = experiment_in(path).options
    name = 'em_prior_init_cnt'
    path = changed(lambda config: config['experiment']['options'].update({name: options[name] + 1}))
    out = said('--from_config', path, '--dry_run')
    assert 'the same experiment' in out and 'learning rate 0.02' in out and 'batch 10' in out
    assert '%s: %s\n' % (name, options[name] + 1) in out
    out = said('--from_config', path, '--seed', '1', '--dry_run')
    assert '%s has other settings: ' % path in out and 'training.lr 0.02 instead of 1e-05' in out


def test_other_data_code_and_versions_are_said(here):
    said(*EWC)

    def change(config):
        config['experiment']['checksums']['raw'] = 'x'
        config['origin']['versions']['numpy'] = '0.1'
        config['origin']['source_digests'][0] = 'x'
    path = changed(change)
    out = said('--from_config', path, '--dry_run')
    assert '%s has other settings: checksums.raw "x" instead of ' % path in out
    assert '%s has another origin: numpy 0.1 and ' % path in out and '; code of ' in out
    path = changed(lambda config: config.pop('origin'))
    assert 'does not say which code and versions' in said('--from_config', path, '--dry_run')


def test_words_that_belong_to_that_run_alone_are_left_out():
    command = ('main.py --data_type DIGITS5 --restart 0,1 --quiet --scheduler tcp://x:1 --set a=1 --set=b=2 '
               '--em_prior_init_cnt 3 --gpu -1')
    config = {'command': command, 'settings': {'threads': 3}}
    first, counts = '--data_type DIGITS5 --set a=1', '--em_prior_init_cnt 3 --gpu -1'
    for own, expected in (
            ([], '%s --set=b=2 %s --threads 3' % (first, counts)),
            (['--set', 'b=5'], '%s %s --threads 3 --set b=5' % (first, counts)),
            (['--grid=b=5,6'], '%s %s --threads 3 --grid=b=5,6' % (first, counts)),
            (['--set', 'em_prior_init_cnt=5'],
             '%s --set=b=2 --gpu -1 --threads 3 --set em_prior_init_cnt=5' % first),
            (['--b', '5'], '%s %s --threads 3 --b 5' % (first, counts)),
            (['--scheduler', 'x'], '%s --set=b=2 %s --scheduler x' % (first, counts)),
            (['--jobs', '2'], '%s --set=b=2 %s --jobs 2' % (first, counts))):
        assert ' '.join(from_config.merged(config, ['--from_config', 'x'] + own)[1]) == expected


@pytest.mark.parametrize('words, kind, name, value, as_set', [
    ('--model_type EWC --test_type 3', 'options', 'ewc_shared_fc', True, 'true'),
    ('--model_type EWC --test_type 3', 'options', 'ewc_fisher_samples', 7, '7'),
    ('--model_type DEN', 'options', 'den_split_cap', None, 'none'),
    ('--model_type LASEMG_HPS', 'options', 'groups', [1, 3], '1,3'),
    ('--model_type STL --data_type Images --images images', 'data_options', 'split', [50, 20, 30],
     '50,20,30')])
def test_each_kind_of_value_is_given_as_set_takes_it(words, kind, name, value, as_set, here, monkeypatch):
    monkeypatch.setitem(gen_data.DATASETS, 'Images', gen_data.DATASETS['Images'])
    classes_in('images', ['a', 'b'])
    command = ['--data_type', 'DIGITS5', '--lifelong'] + words.split()
    then = json.loads(experiment_of(*command).to_json())
    assert then[kind][name] != value
    then[kind][name] = value
    config = {'command': 'main.py ' + ' '.join(command), 'settings': {}, 'experiment': then}
    found = from_config.command_line(config, ['--from_config', 'x'])
    assert found == ['--set', '%s=%s' % (name, as_set)] + command
    assert json.loads(experiment_of(*found).to_json())[kind] == then[kind]


def test_epochs_that_grow_with_the_tasks_are_no_flag(here):
    command = ['--data_type', 'DIGITS5', '--lifelong', '--model_type', 'STL', '--stl_analysis',
               '--stl_task_to_learn', '1']
    then = json.loads(experiment_of(*command).to_json())
    then['training']['epochs'] += 5
    config = {'command': 'main.py ' + ' '.join(command), 'settings': {}, 'experiment': then}
    assert from_config.command_line(config, []) == command


@pytest.mark.parametrize('content, says', [
    ('{', 'no config.json of a run'), ('[]', 'no config.json of a run'),
    ('{"experiment": {}, "settings": {}, "command": 3}', 'no config.json of a run'),
    ('{"experiment": {}, "settings": {}, "command": "main.py --seed 1"}',
     'it is damaged, or of a newer version')])
def test_what_is_no_config_is_one_line(content, says, here):
    (here / 'config.json').write_text(content)
    is_refused(['--from_config', 'config.json'],
               '--from_config config.json: it is ' + says.replace('it is ', ''))


@pytest.mark.parametrize('damaged', [5, 'x', [1], {'versions': {}}, {'versions': 5, 'source_modules': [],
                                                                     'source_digests': []}])
def test_a_damaged_origin_is_no_origin(damaged, here):
    flags = parser(EWC).parse_args(EWC)
    experiment = resolve(flags, print)
    config = {'experiment': json.loads(experiment.to_json()), 'origin': damaged}
    assert from_config.said(config, 'F', experiment) == [
        'F does not say which code and versions it was trained with']


def test_a_config_that_cannot_be_read_says_why(here):
    for path, why in (('nowhere', 'No such file or directory'), ('.', 'Is a directory')):
        is_refused(['--from_config', path],
                   '--from_config %s cannot be read: %s; the config.json of a run' % (path, why))
    is_refused(['--from_config', ''], '--from_config: a path is needed')


def test_an_option_that_this_version_does_not_know_is_one_line(here):
    said(*EWC)
    path = changed(lambda config: config.update(command='main.py --what_is_this 3'))
    is_refused(['--from_config', path], 'unrecognized arguments: --what_is_this 3')


def test_a_plug_in_is_loaded_only_where_the_command_names_it(here, plugins):
    plugin = ['--plugin', example('low_rank')]
    said(*QUICK + plugin + ['--model_type', 'Hybrid_LowRank', '--num_tasks', '1', '--epochs_per_task', '1',
                            '--save_mat_name', 'x.mat'])
    is_refused(['--from_config', config_of()], 'this run used a plug-in; add --plugin FILE.py')
    assert 'the same experiment' in said('--from_config', config_of(), *plugin + ['--dry_run'])
