"""main.py on a network of two layers that learns DIGITS5 at once, so that a few epochs show every difference.

`python -m tests.command_line OPTIONS`, from the folder above; --num_clayers 2 chooses that network.
`python -m tests.command_line ONE_PROCESS OPTIONS ONE_PROCESS OPTIONS ...`: several command lines, one after the other,
their trials not in processes of their own: TensorFlow is imported once.
"""
import itertools
import os
import sys

from utils import utils_env_cl as env
from utils.utils import run_command

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


def _train_here(run, number, progress):
    from classification.runs.trial_process import _train, trial_folder
    folder = trial_folder(run.place.run, number)
    os.makedirs(folder)
    _train(run.place.run, folder, number, lambda: False, lambda: None)
    return 0


if __name__ == '__main__':
    change()
    import main
    if sys.argv[1] != ONE_PROCESS:
        run_command(main.main)
    from classification import train_wrapper
    train_wrapper._Run._train = _train_here
    for separator, options in itertools.groupby(sys.argv[1:], ONE_PROCESS.__eq__):
        if not separator:
            assert main.main(list(options)) == 0
