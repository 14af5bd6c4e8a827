"""Does a long trial need ever more memory, or leave files open? A tiny network, trained and checkpointed every epoch.

    python -m tests.faults.endurance [--epochs 2000]      prints the growth per epoch; the exit status is 1 if there is one

Part of `make soak`, and with fewer epochs of the tests.
"""
import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import numpy as np  # noqa: E402
import psutil  # noqa: E402

from tests.trials import make_experiment, make_trial  # noqa: E402

POSITIONS = 10             # tasks in the order: as many graphs are built and closed
TOLERATED = 16384          # bytes per epoch; an epoch's history and its share of the checkpoint that is being made are in it
ALLOWANCE = 2000 * 4096    # bytes over the measurement: what an allocator takes and gives back as it likes


def measured(epochs, model_type='HPS'):
    """(epochs, resident bytes after each, open files after each) of one trial, its first position left out."""
    process, seen = psutil.Process(), []

    def look(**what):
        seen.append((process.memory_info().rss, process.num_fds()))
    experiment = make_experiment('Hybrid_HPS' if model_type == 'HPS' else model_type, order=(0, 1) * (POSITIONS // 2),
                                 epochs=epochs // POSITIONS)
    with tempfile.TemporaryDirectory() as folder:
        make_trial(experiment, folder, tell=look).run()
    warm = np.array(seen[len(seen) // POSITIONS:])
    return len(seen), warm[:, 0], warm[:, 1]


def slope(values):
    """Growth per epoch: of the line through them with the least squares."""
    return np.polyfit(np.arange(len(values)), values, 1)[0]


def command_line():
    """Exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--epochs', type=int, default=2000, help='default: %(default)s')
    flags = parser.parse_args()
    epochs, memory, files = measured(flags.epochs)
    print('%d epochs over %d positions: memory %.1f MB after the first position, %.1f MB at the end, %.0f bytes per epoch; '
          'open files %d and %d, %.4f per epoch' % (epochs, POSITIONS, memory[0] / 1e6, memory[-1] / 1e6, slope(memory),
                                                    files[0], files[-1], slope(files)))
    return 1 if slope(memory) > TOLERATED + ALLOWANCE / float(epochs) or files[-1] > files[0] else 0


if __name__ == '__main__':
    sys.exit(command_line())
