"""main.py on a network of two layers that learns DIGITS5 at once, so that a few epochs show every difference.

`python -m tests.command_line OPTIONS`, from the folder above; --num_clayers 2 chooses that network.
"""
import sys

from utils import utils_env_cl as env

CHANGES = [
    (env.NETWORKS, ('digits5', 2), env.Network(kernels=(3, 3), channels=(6, 8), pools=(2, 2), hidden=())),
    (env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=2e-2, lr_decay=0.1)),
]


def change(set_row=lambda table, row, value: table.update({row: value})):
    """Adds the network, and makes it learn faster."""
    for change_of in CHANGES:
        set_row(*change_of)


if __name__ == '__main__':
    change()
    import main
    sys.exit(main.main())
