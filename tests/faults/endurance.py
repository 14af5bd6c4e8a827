"""Does a long trial need ever more memory, or leave files open? Trains and checkpoints a tiny network.

    python -m tests.faults.endurance [--epochs 2000]     prints the growth per epoch; status 1 if there is one

Part of `make soak`, and with fewer epochs of the tests.
"""
import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import numpy as np  # noqa: E402
import psutil  # noqa: E402

from tests.support.tiny import make_experiment, make_trial  # noqa: E402
from utils import runtime  # noqa: E402,F401  before TensorFlow

TOLERATED = 8192     # bytes per epoch; what an epoch adds to the history is in it


def measured(epochs):
    """Arrays of resident bytes and of open files after each epoch of the second task, the first few left
    out."""
    process, seen = psutil.Process(), []

    def look(position, epoch, epochs, **what):
        if position == 1 and epoch > epochs // 10:
            seen.append((process.memory_info().rss, process.num_fds()))
    with tempfile.TemporaryDirectory() as folder:
        make_trial(make_experiment('Hybrid_HPS', epochs=epochs // 2), folder, send=look).run()
    return np.array(seen).T


def slope(values):
    """Growth per epoch: of the line through them with the least squares."""
    return np.polyfit(np.arange(len(values)), values, 1)[0]


def grows(memory, files):
    """Whether memory or the number of open files grows with the epochs."""
    return slope(memory) > TOLERATED or files[-1] > files[0]


def command_line():
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--epochs', type=int, default=2000, help='default: %(default)s')
    flags = parser.parse_args()
    memory, files = measured(flags.epochs)
    print('%d epochs: memory %.1f MB, then %.1f MB, %.0f bytes per epoch; open files %d, then %d' % (
        flags.epochs, memory[0] / 1e6, memory[-1] / 1e6, slope(memory), files[0], files[-1]))
    return 1 if grows(memory, files) else 0


if __name__ == '__main__':
    sys.exit(command_line())
