"""A campaign of twelve experiments on DIGITS5, two at a time: three kills, one fails, one stands still.
What python3 -m utils.status says at five moments must be what was done to them.

    make test-all                       on both generations of TensorFlow
    python -m tests.campaign            here; about two minutes on two cores

Prints a line for each moment; the exit status is 1 if one of them was wrong.
"""
import contextlib
import io
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from classification.status import command  # noqa: E402
from tests.support.commands import QUICK, Run, gone, inside, waited_for  # noqa: E402

NAMES = ['e%02d' % number for number in range(12)]
KILLED, FAILING, STALE = NAMES[1:4], NAMES[4], NAMES[5]
STALE_SECONDS = 660


def options_of(name):
    """Twelve experiments: another seed each; one whose loss is no number after an epoch."""
    rate = ['--learning_rate', '1e30'] if name == FAILING else []
    return QUICK + ['--model_type', 'HPS', '--transfer_config', 'all', '--num_tasks', '2',
                    '--epochs_per_task', '4', '--seed', name[1:]] + rate


def state(folder):
    """(exit status, {experiment: what utils.status says of it})."""
    said = io.StringIO()
    paths = [str(folder / name) for name in NAMES if (folder / name / 'found').is_dir()]
    with contextlib.redirect_stdout(said):
        status = command.main(paths + ['--format', 'json'])
    return status, {pathlib.Path(one['result']).parent.name: one for one in json.loads(said.getvalue())}


def check(moment, folder, expected, status):
    """Compares it with what was done: {experiment: state}; prints a line, and returns what was said."""
    got, found = state(folder)
    states = {name: one['state'] for name, one in found.items()}
    right = states == expected and got == status
    print('%s: %s' % (moment, 'right' if right else 'WRONG: status %d instead of %d, %s instead of %s' % (
        got, status, states, expected)))
    sys.stdout.flush()
    assert right
    return found


def trial_of(found, name):
    trial, = found[name]['trials_in_detail']
    return trial


def campaign(folder):
    runs = {name: Run(folder / name, options_of(name)) for name in NAMES}
    with contextlib.ExitStack() as ended:
        for run in runs.values():
            ended.callback(lambda run=run: run.parent and run.__exit__())
        _campaign(folder, runs)


def _campaign(folder, runs):
    expected = {}
    for moment in (_two_are_running, _three_are_killed, _one_fails, _one_stands_still, _all_go_on):
        moment(folder, runs, expected)


def _two_are_running(folder, runs, expected):
    """Side by side, frozen inside a task."""
    both, frozen = (NAMES[0], KILLED[0]), {}
    for name in both:
        runs[name].start()
    for name in both:
        frozen[name] = runs[name].child_stopped_when(inside(0))[0]
    found = check('two are running', folder, {name: 'running' for name in both}, 75)
    for name in both:
        trial = trial_of(found, name)
        assert trial['task'] in (0, 1) and 1 <= trial['epoch'] <= 4 and trial['pid'] == frozen[name].pid
    frozen[NAMES[0]].resume()
    runs[KILLED[0]].kill(frozen[KILLED[0]])


def _three_are_killed(folder, runs, expected):
    """Command and trial, just now; a trial alone; by a signal. The first one ends by itself."""
    assert runs[NAMES[0]].wait() == 0
    for name in KILLED[1:]:
        runs[name].start()
    killed, _ = runs[KILLED[1]].child_stopped_when(inside(0))
    killed.kill()
    assert runs[KILLED[1]].wait() == 1 and gone(killed)
    runs[KILLED[2]].child_stopped_when(inside(0))[0].resume()
    runs[KILLED[2]].parent.send_signal(signal.SIGTERM)
    assert runs[KILLED[2]].wait() == 75
    expected.update({NAMES[0]: 'finished', KILLED[0]: 'interrupted', KILLED[1]: 'failed',
                     KILLED[2]: 'interrupted'})
    found = check('three were killed', folder, expected, 1)
    assert trial_of(found, KILLED[1])['reason'] == 'it ended with signal 9'
    assert 'reason' not in trial_of(found, KILLED[0])


def _one_fails(folder, runs, expected):
    """And what was killed is taken up."""
    for name in (KILLED[1], FAILING):
        runs[name].start()
    assert runs[KILLED[1]].wait() == 0 and runs[FAILING].wait() == 1
    expected.update({KILLED[1]: 'finished', FAILING: 'failed'})
    found = check('one failed', folder, expected, 1)
    assert trial_of(found, FAILING)['reason'] == 'the loss of task 0 became nan in epoch 1'


def _one_stands_still(folder, runs, expected):
    """Its file grows old; it goes on, and runs again."""
    runs[STALE].start()
    child, _ = runs[STALE].child_stopped_when(inside(0))
    token = runs[STALE].folder_of_run / 'trial0' / '.lock.token'
    os.utime(str(token), (time.time() - STALE_SECONDS,) * 2)
    expected[STALE] = 'stale'
    shutil.rmtree(str(folder / FAILING / 'found'))       # so that only this one explains the exit status
    del expected[FAILING]
    check('one stands still', folder, expected, 1)
    child.resume()
    waited_for(lambda: state(folder)[1][STALE]['state'] != 'stale')
    assert runs[STALE].wait() == 0


def _all_go_on(folder, runs, expected):
    """To their ends."""
    left = [name for name in NAMES if name != FAILING and expected.get(name) not in ('finished', 'stale')]
    for pair in zip(left[::2], left[1::2] + [None] * (len(left) % 2)):
        for name in filter(None, pair):
            runs[name].start()
        assert all(runs[name].wait() == 0 for name in filter(None, pair))
    check('all are finished', folder, {name: 'finished' for name in NAMES if name != FAILING}, 0)


def main():
    """Exit status."""
    with tempfile.TemporaryDirectory() as place:
        try:
            campaign(pathlib.Path(place))
        except AssertionError as error:
            print('FAILED: %s' % error)
            return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
