"""--shuffle_classes and --splits: what an experiment's identity holds of them, what they refuse, what is
said."""
import json
import os
import shutil

import numpy as np
import pytest

from classification import gen_data
from classification.data import splits_file
from classification.experiment import sizes
from classification.experiment.experiment import Experiment
from classification.report.groups import read_groups
from tests.support import data_files
from tests.support.commands import DIGITS, experiment_of, is_refused, run_and_listen
from tests.support.own_images import classes_in
from tests.support.result_files import record, write

SHUFFLE = ['--shuffle_classes']


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A folder with the splits of two trials of DIGITS5, three tasks."""
    folder = tmp_path_factory.mktemp('drawn')
    for trial in range(2):
        keep_splits(folder / ('trial%d.npz' % trial), group=trial)
    return str(folder)


def keep_splits(path, data_type='DIGITS5', num_tasks=3, **more):
    gen_data.load_tasks(data_type, '', num_tasks=num_tasks, say=lambda line: None, keep=str(path), **more)


def given(folder, *more):
    """Options that ask for three tasks of one trial of given splits."""
    return ['--num_tasks', '3', '--num_runs', '1', '--splits', str(folder)] + list(more)


def changed(folder, path, **arrays):
    """Copies a file of splits into a folder, with other arrays."""
    with np.load(path, allow_pickle=False) as stored:
        np.savez(str(folder / os.path.basename(path)), **dict(dict(stored), **arrays))


def test_both_are_in_the_identity_only_where_they_are_given(drawn):
    options = [[], SHUFFLE, given(drawn)]
    experiments = [experiment_of(*one) for one in options]
    assert len({one.fingerprint() for one in experiments}) == 3
    for experiment, names in zip(experiments, ((), ('shuffle_classes',), ('splits',))):
        assert set(json.loads(experiment.to_json())) & {'shuffle_classes', 'splits'} == set(names)
        assert Experiment.from_json(experiment.to_json()) == experiment
    assert experiments[0]._replace(shuffle_classes=True) == experiments[1]
    assert experiments[2].data_percent is None and len(experiments[2].splits) == 64


def splits_of(folder, *more):
    return experiment_of(*given(folder, *more)).splits


def test_the_content_of_all_files_counts_and_not_their_place_and_packing(drawn, tmp_path):
    expected = splits_of(drawn)
    for number in range(2):
        (tmp_path / ('trial%d' % number)).mkdir()
        changed(tmp_path, os.path.join(drawn, 'trial%d.npz' % number), note=np.array('packed otherwise'))
        os.rename(str(tmp_path / ('trial%d.npz' % number)),
                  str(tmp_path / ('trial%d' % number) / 'splits.npz'))
    assert splits_of(tmp_path) == expected == splits_of(drawn, '--num_runs', '2')
    assert splits_of(drawn, '--seed', '5') == expected      # the seed is another field of the identity
    shutil.rmtree(str(tmp_path / 'trial1'))
    assert splits_of(tmp_path) != expected
    keep_splits(tmp_path / 'trial1.npz', group=2)
    assert splits_of(tmp_path) != expected


def test_more_tasks_than_asked_for_are_no_mistake(drawn):
    two = experiment_of(*given(drawn, '--num_tasks', '2'))
    assert len(two.class_counts) == 2 and two.splits == splits_of(drawn)


def test_the_design_of_stl10_takes_no_part_in_given_splits(tmp_path):
    data_files.stl10(tmp_path)
    keep = tmp_path / 'trial0.npz'
    gen_data.load_tasks('STL10_20t', str(tmp_path), num_tasks=2, say=lambda line: None, keep=str(keep))
    options = ['--data_type', 'STL10_20t', '--num_clayers', '6', '--test_type', '0', '--num_tasks', '2',
               '--num_runs', '1', '--batch_size', '1', '--data_dir', str(tmp_path)]
    design, given = [experiment_of(*options + more).checksums['design']
                     for more in ([], ['--splits', str(tmp_path)])]
    assert design is not None and given is None


MISTAKES = [
    ([], ['--num_runs', '3'], 'no splits of trial 2 are in it (trial2/splits.npz or trial2.npz), and '
     '--num_runs asks for 3 trials; add --num_runs 2'),
    ([], ['--num_tasks', '4'], 'holds 3 tasks, and 4 were asked for; add --num_tasks 3'),
    ([], SHUFFLE, '--splits and --shuffle_classes both say the classes of tasks'),
    ([], ['--splits', 'nowhere'], '--splits: nowhere cannot be read: No such file or directory'),
    ([], ['--splits', '.'],
     'holds no splits of trials; trial0/splits.npz or trial0.npz and so on are needed'),
    (['damaged'], [], 'trial1.npz cannot be read as the splits of a trial'),
    (['other'], ['--num_runs', '2'], 'splits of MNIST5, and DIGITS5 was asked for'),
    (['classes'], ['--num_runs', '2'], 'task 0 has 2 classes in'),
    (['small'], ['--num_runs', '2'],
     'task 0 has 1 training images, fewer than one batch of 10; take a smaller'),
]


@pytest.mark.parametrize('change, options, says', MISTAKES, ids=[says for _, _, says in MISTAKES])
def test_a_mistake_is_one_line(change, options, says, drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'given'
    shutil.copytree(drawn, str(folder))
    second = os.path.join(drawn, 'trial1.npz')
    with np.load(second, allow_pickle=False) as stored:
        rows, labels = stored['task0_train_rows'], stored['task0_train_labels']
    if change == ['damaged']:
        (folder / 'trial1.npz').write_bytes(b'PK')
    elif change == ['other']:
        changed(folder, second, data_type=np.array('MNIST5'))
    elif change == ['classes']:
        changed(folder, second, task0_classes=np.array([0, 1, 9]))
    elif change == ['small']:
        changed(folder, second, task0_train_rows=rows[:1], task0_train_labels=labels[:1])
    is_refused(DIGITS + given(folder) + options, says)


@pytest.mark.parametrize('data_type, says', [
    ('MNIST10', 'each of its tasks is a class against all others; --task_order shuffled changes their order'),
    ('STL10_15t', 'its tasks are drawn from --seed already')])
def test_where_classes_cannot_be_exchanged_a_line_says_why(data_type, says):
    is_refused(['--data_type', data_type, '--lifelong'] + SHUFFLE, '--shuffle_classes is not for %s: %s'
               % (data_type, says))


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A folder of pictures of four classes, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(gen_data.DATASETS, 'Images', gen_data.DATASETS['Images'])
    return classes_in('mine', 'abcd')


def test_own_images_have_their_own_classes(images):
    is_refused(['--data_type', 'Images', '--images', images, '--lifelong', '--quiet'] + SHUFFLE,
               'your listing says the classes of each task')


def test_own_images_can_be_given_back(images):
    options = ['--data_type', 'Images', '--images', images, '--batch_size', '2', '--num_runs', '1']
    experiment_of(*options)
    tasks = gen_data.load_tasks('Images', 'D', seed=0, say=lambda line: None, keep='trial0.npz')
    experiment_of(*options + ['--seed', '4', '--splits', '.'])
    again = gen_data.load_tasks('Images', 'D', seed=4, say=lambda line: None,
                                composition=gen_data.Composition(given=splits_file.load('trial0.npz')))
    for one, other in zip(tasks, again):
        for split in gen_data.SPLITS:
            assert getattr(one, split).image_rows.tolist() == getattr(other, split).image_rows.tolist()


def test_a_dry_run_says_where_the_classes_come_from(drawn, tmp_path):
    data_files.stl10(tmp_path)
    for options, said in (
            (DIGITS, 'composition of tasks: fixed, the same in all trials and for all seeds\n'),
            (DIGITS + SHUFFLE, 'composition of tasks: drawn, another one in each trial (--shuffle_classes); '
                               'the sizes are those of trial 0\n'),
            (DIGITS + given(drawn), 'composition of tasks: given with its images, checksum %s '
             '(--splits); the sizes are those of trial 0\n' % splits_of(drawn)[:8]),
            (['--data_type', 'STL10_20t', '--lifelong', '--batch_size', '1', '--data_dir', str(tmp_path)],
             'composition of tasks: drawn, the same in all trials of a seed (STL-10 design)\n')):
        status, out, err = run_and_listen(options + ['--dry_run'])
        assert (status, err) == (0, '') and said in out


def test_a_dry_run_tells_the_sizes_of_the_given_splits(drawn, tmp_path):
    path = os.path.join(drawn, 'trial0.npz')
    with np.load(path, allow_pickle=False) as stored:
        changed(tmp_path, path, **{'task1_train_' + kind: stored['task1_train_' + kind][:50]
                                   for kind in ('rows', 'labels')})
    out = run_and_listen(DIGITS + given(tmp_path, '--dry_run'))[1]
    assert out.split('\n')[3].split() == ['1', '2', '50', '35', '107']


def test_a_share_of_the_data_has_no_effect_on_given_splits(tmp_path):
    data_files.mnist(tmp_path)
    gen_data.load_tasks('MNIST5', str(tmp_path), 1, say=lambda line: None, keep=str(tmp_path / 'trial0.npz'))
    options = ['--data_type', 'MNIST5', '--lifelong', '--data_dir', str(tmp_path), '--num_runs', '1',
               '--splits', str(tmp_path)]
    out = run_and_listen(options + ['--data_percent', '3', '--dry_run'])[1]
    assert '--data_percent is ignored: --splits says the images\n' in out and 'MNIST5, fingerprint' in out
    assert out.split('\n')[3].split()[:3] == ['0', '2', '100']


def test_splits_of_files_with_other_images_of_the_same_classes_are_noted(drawn, tmp_path):
    path = os.path.join(drawn, 'trial0.npz')
    changed(tmp_path, path, data_checksum=np.array('c0ffee'))
    assert 'is of other files of DIGITS5 than those here' in run_and_listen(
        DIGITS + given(tmp_path, '--dry_run'))[1]
    assert 'other files' not in run_and_listen(DIGITS + given(drawn, '--dry_run'))[1]


# ---- the entry of the result file, the report ----

def test_an_entry_says_it_only_where_it_was_asked_for(drawn):
    trials = [record([[0.8, np.nan, np.nan], [0.8, 0.9, np.nan], [0.8, 0.9, 0.7]])]
    fields = []
    for options in (['--num_tasks', '3'], ['--num_tasks', '3'] + SHUFFLE, given(drawn)):
        experiment = experiment_of(*options)
        entry = sizes.entry_of(experiment, trials, {})
        fields.append({name: entry[name] for name in ('composition_rule', 'splits_checksum')
                       if name in entry})
    assert fields == [{}, {'composition_rule': 'shuffled'},
                      {'composition_rule': 'given', 'splits_checksum': splits_of(drawn)}]


def test_experiments_of_other_compositions_are_not_compared(tmp_path):
    trials, path = [record([[0.8, np.nan], [0.8, 0.9]])], tmp_path / 'x.mat'
    for model in ('STL', 'Hybrid_HPS'):
        for more in ({}, dict(composition_rule='shuffled'),
                     dict(composition_rule='given', splits_checksum='a' * 64),
                     dict(composition_rule='given', splits_checksum='b' * 64)):
            write(path, model, trials, run_id=model + str(more),
                  fingerprint=(model + str(sorted(more.items()))), **more)
    groups, _ = read_groups([str(path)])
    assert [[one.label.split()[0] for one in group.members] for group in groups] == 4 * [
        ['STL', 'Hybrid_HPS']]
    assert [group.title.split(', 2 tasks')[0] for group in groups] == [
        'DIGITS5', 'DIGITS5, other classes in each trial', 'DIGITS5, splits aaaaaaaa',
        'DIGITS5, splits bbbbbbbb']
    assert [group.composition.split(': ')[1].split(',')[0] for group in groups] == [
        'fixed', 'drawn', 'given with its images', 'given with its images']


@pytest.mark.parametrize('kind', ['text', 'latex', 'html'])
def test_the_report_says_where_the_classes_come_from(kind, tmp_path, capsys):
    from classification.report import command
    path = write(tmp_path / 'x.mat', 'STL', [record([[0.8, np.nan], [0.8, 0.9]])],
                 composition_rule='shuffled')
    assert command.main([path, '--format', kind, '--out', str(tmp_path / 'out')]) == 0
    written, = (tmp_path / 'out').glob('report.*')
    assert 'composition of tasks: drawn, another one in each trial (--shuffle_classes)' in written.read_text()
