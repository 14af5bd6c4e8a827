"""main.py on a network of two layers that learns DIGITS5 at once, so that a few epochs show every difference.

`python -m tests.support.command_line OPTIONS`, from the root of the repository; --num_clayers 2 chooses that
network. `python -m tests.support.command_line ONE_PROCESS OPTIONS ONE_PROCESS OPTIONS ...`: several command
lines, one after the other, their trials not in processes of their own: TensorFlow is imported once.
"""
import itertools
import sys

from utils import utils_env_cl as env
from utils.utils import EXIT_FAILED, run_command

CHANGES = [
    (env.NETWORKS, ('digits5', 2), env.Network(kernels=(3, 3), channels=(6, 8), pools=(2, 2), hidden=(),
                                               df_knowledge=((2, 3), (2, 3)), df_tensor=((3, 4), (3, 4)))),
    (env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=2e-2, lr_decay=0.1)),
]
ONE_PROCESS = 'one_process'


def change(set_row=lambda table, row, value: table.update({row: value})):
    """Adds the network, and makes it learn faster."""
    for change_of in CHANGES:
        set_row(*change_of)


def train_here(run_folder, number):
    """Trains a trial in this process; returns its exit status."""
    from classification.runs.trial_process import train_trial, trial_folder
    from classification.runs.trial_state import StateFile
    folder = trial_folder(run_folder, number)
    train_trial(run_folder, folder, number, lambda: False, lambda: None, StateFile(folder))
    return 0


class PoolHere(object):
    """Trials in this process, one after the other; what local_pool.LocalPool does with processes.

    Args:
        train: function of run folder and number of a trial -> its exit status.
    """
    size, trouble = 1, None

    def __init__(self, train=train_here):
        self.train = train

    def start(self, run_folder, number):
        return Ended(self.train(run_folder, number))

    def end(self, trial):
        pass

    def close(self):
        pass


class Ended(object):
    """A trial that has ended, as far as it looks like the subprocess.Popen of one;
    one that failed said why."""

    def __init__(self, status):
        self.status, self.stdout = status, [b'{"failed": "pretended"}'] if status == EXIT_FAILED else []

    def wait(self):
        return self.status

    def send_signal(self, number):
        pass


if __name__ == '__main__':
    change()
    import main
    if sys.argv[1] != ONE_PROCESS:
        run_command(main.main)
    from classification.runs import supervisor
    supervisor.choose_pool = lambda flags, trials, say: PoolHere()
    for separator, options in itertools.groupby(sys.argv[1:], ONE_PROCESS.__eq__):
        if not separator:
            assert main.main(list(options)) == 0
