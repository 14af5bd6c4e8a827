"""Does LASEM share where sharing helps? Two tasks of digits, the second related to the first or not.

    python scripts/sharing_study.py [--seeds 10] [--epochs 50] [--model LASEM_HPS]

The first task: five digits, all its images. The second task has few images: the same five digits (related),
or the same images with their 64 pixels shuffled by one fixed permutation, so that no local feature of the
first task is of use (unrelated). Printed: the share of layers that the second task's pattern shares, which is
0.5 by chance, the posterior probability of sharing per layer, and the test accuracy, as means and sample
standard deviations over seeds.
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from classification.experiment.experiment import Experiment  # noqa: E402
from classification.experiment.flags import Parser  # noqa: E402
from classification.gen_data import Split, Task  # noqa: E402
from classification.model.registry import MODELS, default_options  # noqa: E402
from classification.train import Trial  # noqa: E402
from classification.trial.context import TrialContext  # noqa: E402
from utils import runtime  # noqa: E402
from utils import utils_env_cl as env  # noqa: E402
from utils.utils import at_least, random_state, run_command  # noqa: E402

DIGITS, FEW = 5, 10      # digits of a task; training images per class of the second task


def digits(pixels, labels, seed, task, per_class):
    """A task of the digits 0 to 4; `per_class` training images of each, None for 60 %."""
    rows = {'train': [], 'valid': [], 'test': []}
    for number in range(DIGITS):
        order = random_state(seed, task=task, step=number, purpose='images').permutation(np.flatnonzero(
            labels == number))
        bounds = np.cumsum([0, int(0.6 * len(order)), int(0.1 * len(order)), int(0.3 * len(order))])
        for place, part in enumerate(('train', 'valid', 'test')):
            rows[part].append(order[bounds[place]:bounds[place + 1]][:per_class if part == 'train' else None])
    scale = np.full(1, 1 / 16., np.float32)
    return Task(task, DIGITS, classes=(), **{part: Split(
        labels[np.concatenate(some)].astype(np.int32), scale, 0 * scale, pixels, np.concatenate(some), None)
        for part, some in rows.items()})


def run(model_type, seed, epochs, related, images, labels):
    """(share of shared layers, posterior probability of sharing per layer, test accuracy) of the second
    task."""
    shuffled = images.reshape(len(images), -1)[:, random_state(seed, purpose='pixels').permutation(
        64)].reshape(images.shape)
    tasks = [digits(images, labels, seed, 0, None), digits(images if related else shuffled, labels, seed, 1,
                                                           FEW)]
    net = env.build_net(env.NETWORKS['digits5', 4], (8, 8, 1))
    experiment = Experiment('digits', None, 'split', {}, (0, 1), {0: DIGITS, 1: DIGITS}, model_type, net,
                            None, default_options(model_type, net),
                            env.TRAINING['digits5']._replace(epochs=epochs), 0, 0.5, 500, seed, 0)
    with tempfile.TemporaryDirectory() as folder:
        record = Trial(experiment, 0, tasks, TrialContext(folder, runtime.session_config(1),
                                                          minutes=1e9)).run()
    prior, patterns = record.extra['history_net_prior'][-1], env.patterns_of(
        (1,) * len(experiment.net.layers))
    shares = np.array([[letter == 'S' for letter in pattern] for pattern in patterns])
    return np.mean(record.extra['conv_sharing'][1]), prior.dot(shares), record.accuracy_matrix[1, 1]


def _parser():
    parser = Parser(description=__doc__.split('\n')[0])
    parser.add_argument('--seeds', type=at_least(2), default=10, help='repetitions (default: %(default)s)')
    parser.add_argument('--epochs', type=at_least(1), default=50, help='per task (default: %(default)s)')
    parser.add_argument('--model', choices=[name for name, model in MODELS.items() if model.selection
                                            == 'lasem'],
                        default='LASEM_HPS', help='model type (default: %(default)s)')
    return parser


def main():
    """Command line."""
    flags = _parser().parse_args()
    from sklearn.datasets import load_digits
    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8)[..., None], bunch.target
    print('%s, %d seeds, %d epochs per task, %d training images per class in the second task'
          % (flags.model, flags.seeds, flags.epochs, FEW))
    for related in (True, False):
        found = [run(flags.model, seed, flags.epochs, related, images, labels) for seed in range(flags.seeds)]
        shared, posterior, accuracy = [np.array(values) for values in zip(*found)]
        print('%-9s  shared layers %.2f (%.2f)  P(shared) per layer %s  test accuracy %.3f (%.3f)' % (
            'related' if related else 'unrelated', shared.mean(), shared.std(ddof=1),
            ' '.join('%.3f' % p for p in posterior.mean(axis=0)), accuracy.mean(), accuracy.std(ddof=1)))
        sys.stdout.flush()


if __name__ == '__main__':
    run_command(main)
