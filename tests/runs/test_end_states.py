"""The same command with more tasks: what it takes over from the shorter experiment, and what it says."""
import glob
import json
import os

import pytest

from classification.experiment.experiment import Experiment
from classification.experiment.flags import parser
from classification.experiment.resolve import resolve
from classification.results import parameter_files
from classification.results.mat_file import entries
from classification.runs import end_states, trial_state
from classification.runs.run_folder import ResultPaths
from classification.trial import checkpoint
from tests.support.commands import QUICK, run_and_listen
from tests.support.own_images import classes_in
from tests.support.result_files import same_entry
from utils import utils_env_cl as env

MODEL = QUICK + ['--model_type', 'LASEM_HPS', '--epochs_per_task', '1', '--save_mat_name', 'x.mat']


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, train_here):
    """An empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(tasks, trials, *more):
    """What a command that ends well says."""
    status, out, err = run_and_listen(MODEL + ['--num_tasks', str(tasks), '--num_runs', str(trials)]
                                      + list(more))
    assert (status, err) == (0, ''), err
    return out


def folder_of(tasks, result='Result'):
    """Run folder of the experiment with so many tasks."""
    found = [os.path.dirname(path) for path in glob.glob(os.path.join(result, 'x', '*', 'config.json'))
             if len(json.load(open(path))['experiment']['task_order']) == tasks]
    return found[0]


def learned(tasks, result='Result'):
    """(trial, position) of each task that was learned, by the log."""
    lines = open(os.path.join(folder_of(tasks, result), 'log.txt')).read().splitlines()
    return [(int(line.split('trial ')[1].split(':')[0]), int(line.split('(position ')[1].split(')')[0]))
            for line in lines if ': learned task' in line]


def kept(tasks):
    """Numbers of the trials whose end state is kept."""
    return sorted(int(os.path.dirname(path)[-1])
                  for path in glob.glob(os.path.join(folder_of(tasks), 'trial*', 'checkpoint*')))


def test_more_tasks_and_more_trials(here):
    trained(2, 2, '--saveparam')
    assert kept(2) == [0, 1]
    said = trained(3, 3, '--saveparam')
    assert 'trials 0, 1: 2 tasks taken over from %s, 1 task to learn\n' % folder_of(2) in said
    assert 'trial 2: all 3 tasks to learn, as %s holds no end state\n' % folder_of(2) in said
    assert learned(3) == [(0, 2), (1, 2), (2, 0), (2, 1), (2, 2)]
    trained(3, 3, '--saveparam', '--result_dir', 'At once')
    short, long_ = entries('Result/x.mat')
    assert short['train_valid_data_group'].size == 2 and short['task_order'].size == 2     # it stays
    at_once, = entries('At once/x.mat')
    folders = [os.path.join(result, entry.pop('parameter_folder'))
               for result, entry in (('Result', long_), ('At once', at_once))]
    same_entry(long_, at_once)
    files = [sorted(os.path.relpath(path, folder)
                    for path in glob.glob(os.path.join(folder, '**', '*.mat'), recursive=True))
             for folder in folders]
    assert files[0] == files[1] and len(files[0]) == 3 * (3 + 1)
    for name in files[0]:
        stores = [parameter_files.load(os.path.join(folder, name)).store for folder in folders]
        assert {key: value.tobytes() for key, value in stores[0].items()} == {
            key: value.tobytes() for key, value in stores[1].items()}, name
    assert 'nothing to train' in trained(3, 3, '--saveparam')
    # a chain: the longest is continued
    said = trained(4, 1, '--saveparam')
    assert 'trial 0: 3 tasks taken over from %s, 1 task to learn\n' % folder_of(3) in said
    assert learned(4) == [(0, 3)]


def test_an_order_that_was_given_goes_on(here):
    trained(5, 1, '--task_order', '3,1')
    assert kept(2) == [0]
    assert 'trial 0: 2 tasks taken over from %s, 2 tasks to learn\n' % folder_of(2) in trained(
        5, 1, '--task_order', '3,1,0,3')
    assert learned(4) == [(0, 2), (0, 3)]
    trained(5, 1, '--task_order', '3,1,0,3', '--result_dir', 'At once')
    long_ = entries('Result/x.mat')[1]
    same_entry(long_, entries('At once/x.mat')[0])
    assert long_['task_order'].ravel().tolist() == [3, 1, 0, 3] and long_['final_accuracy'].shape == (1, 3)
    # tasks of shuffled orders are drawn anew from their number
    trained(2, 1, '--task_order', 'shuffled')
    out = run_and_listen(MODEL + ['--num_tasks', '3', '--task_order', 'shuffled', '--dry_run'])[1]
    assert 'is not continued: the order of each trial is drawn anew' in out and 'end state' not in out


def test_a_trial_that_has_begun_keeps_its_checkpoint_and_none_goes_on_from_one_without_a_record(here):
    trained(2, 1)
    trained(3, 1)
    folder, said = os.path.join(folder_of(3), 'trial0'), []
    left = trial_state.read(folder)
    assert left['state'] == 'finished' and left['training_seconds'] > 0 and left['position'] == 2
    with open(os.path.join(folder_of(3), 'config.json')) as stream:
        experiment = Experiment.from_json(json.dumps(json.load(stream)['experiment']))
    with open(checkpoint.path_in(folder), 'rb') as stream:
        content = stream.read()
    paths = ResultPaths('Result', 'x.mat', experiment)
    end_states.take_over(experiment, paths, [0], None, said.append, said.append)
    with open(checkpoint.path_in(folder), 'rb') as stream:
        assert stream.read() == content
    # a save that is killed between its two names leaves the one before
    os.replace(checkpoint.path_in(folder), checkpoint.path_in(folder) + '.previous')
    end_states.take_over(experiment, paths, [0], None, said.append, said.append)
    assert not os.path.exists(checkpoint.path_in(folder))
    os.replace(checkpoint.path_in(folder) + '.previous', checkpoint.path_in(folder))
    assert said == end_states.described(experiment, paths, [0]) == []
    os.remove(os.path.join(folder, 'record.npz'))
    out = run_and_listen(MODEL + ['--num_tasks', '4', '--num_runs', '1', '--dry_run'])[1]
    assert 'trial 0: 2 tasks taken over from %s, 2 tasks to learn\n' % folder_of(2) in out


def test_who_wants_to_learn_all_tasks_does(here):
    trained(2, 2)
    trained(3, 1)
    assert learned(3) == [(0, 2)]
    said = trained(3, 2, '--restart', '0')
    assert 'trial 1: 2 tasks taken over' in said and 'trial 0' not in said.split('working files')[0]
    assert learned(3)[1:] == [(0, 0), (0, 1), (0, 2), (1, 2)]
    said = trained(3, 2, '--restart')
    assert 'to learn' not in said and len(learned(3)) == 5 + 2 * 3


def test_end_states_are_kept_where_more_can_come(here):
    trained(2, 1, '--no_continue')
    assert kept(2) == []
    said = trained(3, 1)
    assert 'trial 0: all 3 tasks to learn, as %s holds no end state\n' % folder_of(2) in said
    trained(5, 1)
    assert kept(3) == [0] and kept(5) == [] and learned(5) == [(0, 3), (0, 4)]
    status, out, _ = run_and_listen(MODEL + ['--num_tasks', '5', '--dry_run'])
    assert status == 0 and 'end state' not in out


def test_the_dry_run_says_the_size_and_what_is_continued(here):
    trained(2, 1)
    status, out, _ = run_and_listen(MODEL + ['--num_tasks', '4', '--num_runs', '2', '--dry_run'])
    assert (status == 0 and 'trial 0: 2 tasks taken over from' in out
            and 'trial 1: all 4 tasks to learn' in out)
    size, = [line.split('at most ')[1].split(' per trial')[0] for line in out.split('\n')
             if line.startswith('end state')]
    trained(4, 1)
    bytes_ = os.path.getsize(os.path.join(folder_of(4), 'trial0', 'checkpoint'))
    most = float(size.split()[0]) * {'kB': 1e3, 'MB': 1e6}[size.split()[1]]
    assert most > 0.3 * bytes_          # the file has names and headers beside values
    assert run_and_listen(MODEL + ['--num_tasks', '4', '--dry_run', '--no_continue'])[1].count(
        'end state') == 0


@pytest.mark.parametrize('change, says', [
    (['--seed', '1'], None), (['--epochs_per_task', '2'], None),
    (['--task_order_type', '1'], 'order of tasks, 0 1, is no beginning of 0 0 1')])
def test_what_is_not_continued(change, says, here):
    trained(2, 1)
    said = run_and_listen(MODEL + ['--num_tasks', '2' if says else '3'] + change)[1]
    if says:
        assert '%s is not continued: its %s\n' % (folder_of(2), says) in said
    assert 'taken over' not in said and 'end state' not in said


@pytest.mark.parametrize('name, value', [
    ('class_counts', [2]), ('class_counts', {'x': 2}), ('class_counts', None), ('task_order', None),
    ('checksums', None), ('analyses', 5)])
def test_a_damaged_config_beside_it_is_passed_over(name, value, here):
    flags = parser(MODEL).parse_args(MODEL + ['--num_tasks', '3'])
    experiment = resolve(flags, print)
    fields = dict(json.loads(resolve(parser(MODEL).parse_args(MODEL + ['--num_tasks', '2']),
                                     print).to_json()), **{name: value})
    os.makedirs('Result/x/LASEM_HPS-00000000')
    with open('Result/x/LASEM_HPS-00000000/config.json', 'w') as stream:
        json.dump({'experiment': fields, 'settings': {}}, stream)
    possible, lines = end_states.shorter_of(experiment, ResultPaths('Result', 'x.mat', experiment))
    assert possible == [] and all(
        'is not continued: the images of its task x are others' in line for line in lines)


def test_an_end_state_whose_parameter_files_are_not_known_is_taken_over(here):
    said = trained(2, 1, '--saveparam', '--result_dir', str(here / 'Result'))
    assert 'parameter files: %s' % (here / 'Result' / 'params') in said
    path = os.path.join(folder_of(2), 'config.json')
    config = json.load(open(path))
    config['settings']['parameter_folder'] = None
    with open(path, 'w') as stream:
        json.dump(config, stream)
    said = trained(3, 1, '--saveparam')
    assert 'note: the parameter files of trial 0 are no longer in ' + folder_of(2) in said
    assert learned(3) == [(0, 2)]


def test_an_end_state_that_is_damaged_is_said(here):
    trained(2, 1)
    path = checkpoint.path_in(os.path.join(folder_of(2), 'trial0'))
    content = bytearray(open(path, 'rb').read())
    content[len(content) // 2] ^= 1
    open(path, 'wb').write(bytes(content))
    said = trained(3, 1)
    assert 'is damaged' in said and 'trial 0: all 3 tasks to learn' in said
    assert learned(3) == [(0, 0), (0, 1), (0, 2)]


def test_an_end_state_of_other_libraries_is_said_and_stored(here):
    trained(2, 1)
    path = checkpoint.path_in(os.path.join(folder_of(2), 'trial0'))
    meta, groups = checkpoint.load(path, print)
    meta['origins'][0]['versions']['numpy'] = '0.1'
    checkpoint.save(path, meta, groups)
    said = trained(3, 1)
    assert 'trial 0 goes on from a checkpoint of another origin (numpy 0.1 and ' in said
    assert len(entries('Result/x.mat')[1]['origin'][0]) == 2


def test_a_network_that_the_table_changed_is_another_experiment(here, monkeypatch):
    trained(2, 1)
    monkeypatch.setitem(env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=1e-3))
    assert 'taken over' not in trained(3, 1)


# ---- own images ----

IMAGES = ['--data_type', 'Images', '--images', 'images', '--num_clayers', '2', '--lifelong', '--threads', '1',
          '--num_runs', '1', '--model_type', 'Hybrid_HPS', '--transfer_config', 'top1',
          '--epochs_per_task', '1', '--batch_size', '4', '--save_mat_name', 'x.mat']


def add_task(name, number, size=8, folder='images'):
    """A task folder of two classes; its pixels depend on a number."""
    classes_in(os.path.join(folder, name), ['u', 'v'], seed=number, height=size, width=size)


def said_of_images(*more):
    status, out, err = run_and_listen(IMAGES + list(more))
    assert (status, err) == (0, ''), err
    return out


def test_a_new_task_folder_comes_last_and_the_size_stays(here):
    add_task('b', 0)
    add_task('c', 1)
    said_of_images()
    add_task('a', 2, size=64)
    add_task('0', 3, size=64)
    assert 'trial 0: 2 tasks taken over from' in said_of_images('--dry_run')
    said = said_of_images()
    assert 'trial 0: 2 tasks taken over from %s, 2 tasks to learn\n' % folder_of(2) in said
    assert learned(4) == [(0, 2), (0, 3)]
    with open(os.path.join(folder_of(4), 'config.json')) as stream:
        config = json.load(stream)
    assert [name for name, _ in config['tasks']] == ['b', 'c', '0', 'a']
    assert config['experiment']['data_options']['image_size'] == 8
    assert 'nothing to train' in said_of_images()             # the same command once more
    for name, number, size in (('b', 0, 8), ('c', 1, 8), ('d0', 3, 64), ('e', 2, 64)):
        add_task(name, number, size, 'at once')
    said_of_images('--images', 'at once', '--result_dir', 'At once', '--image_size', '8')
    one, other = entries('Result/x.mat')[1], entries('At once/x.mat')[0]
    for name in ('fingerprint', 'data_folder', 'origin'):      # the tasks have other names
        assert one.pop(name) != other.pop(name)
    same_entry(one, other)
    # an image of an earlier task is another one now
    add_task('b', 9)
    said = said_of_images('--dry_run')
    assert '%s is not continued: the images of its task 0 are others now\n' % folder_of(2) in said


def test_a_single_new_class_is_named_as_the_reason(here):
    classes_in('images', ['b', 'c'])
    said_of_images()
    classes_in('images', ['a'], seed=1)
    assert ('is not continued: a single new class makes no task; add another one\n'
            in said_of_images('--dry_run'))


def test_a_class_name_with_a_line_break_takes_one_line(here):
    classes_in('images', ['b', 'c', 'x\ny'])
    said = said_of_images('--dry_run')
    assert 'class x\\ny, the only one left over, joins task 0\n' in said and 'task 0: b, c, x\\ny\n' in said


def test_a_class_that_is_gone_is_said(here):
    for name in 'abcd':
        classes_in('images', [name], seed=ord(name))
    said_of_images()
    os.rename('images/b', 'images/z')
    said = said_of_images('--dry_run')
    assert '%s is not continued: its tasks no longer have the classes that they had\n' % folder_of(2) in said


def test_new_rows_of_a_table_and_interleaved_ones(here):
    rows = []
    for task in ('t1', 't0'):
        add_task(task, ord(task[1]))
        rows += ['%s,%s,images/%s/%s/%d.png' % (task, name, task, name, number)
                 for name in 'uv' for number in range(12)]

    def table(some):
        with open('images.csv', 'w') as stream:
            stream.write('\n'.join(['task,class,file'] + some) + '\n')

    table(rows[:24])
    said_of_images('--images', 'images.csv')
    table([row for pair in zip(rows[24:], rows[:24]) for row in pair])
    said = said_of_images('--images', 'images.csv')
    assert 'trial 0: 1 task taken over from' in said
    assert learned(2) == [(0, 1)]
