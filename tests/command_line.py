"""main.py on a network of two layers that learns DIGITS5 at once, so that a few epochs show every difference.

`python -m tests.command_line OPTIONS`, from the folder above; --num_clayers 2 chooses that network.
"""
import sys

from utils import utils_env_cl as env

CHANGES = [
    (env.NETWORKS, ('digits5', 2), env.Network(kernels=(3, 3), channels=(4, 6), pools=(2, 2), hidden=())),
    (env.TRAINING, 'digits5', env.TRAINING['digits5']._replace(lr=5e-3, lr_decay=0.1)),
]

if __name__ == '__main__':
    for table, row, value in CHANGES:
        table[row] = value
    import main
    sys.exit(main.main())
