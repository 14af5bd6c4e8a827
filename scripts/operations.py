"""How many operations a training step and an evaluated batch of each model type run, on the CPU.

    python scripts/operations.py [--models LASEM_HPS,DEN]

On a GPU each is a kernel to launch, so the launches' overhead grows with them, however small the images
are. Constants, variables and what stands for arguments start nothing and are counted apart. Of DIGITS5's
first task, with one thread, as TensorFlow leaves the graph after its own rewriting.
"""
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import numpy as np  # noqa: E402

from classification.experiment.flags import Parser  # noqa: E402
from classification.experiment.flags import parser as flags_of_main  # noqa: E402
from classification.experiment.resolve import resolve  # noqa: E402
from classification.gen_data import load_tasks  # noqa: E402
from classification.model.registry import MODELS, models_argument  # noqa: E402
from classification.train import Trial  # noqa: E402
from classification.trial.context import TrialContext  # noqa: E402
from classification.trial.task_graph import TaskGraph  # noqa: E402
from scripts.gpu_steps import Traced  # noqa: E402
from utils import runtime  # noqa: E402
from utils.lazy_tensorflow import tf  # noqa: E402
from utils.utils import random_state, run_command  # noqa: E402

NOTHING = ('Const', 'VarHandleOp', 'VariableV2', 'NoOp', '_Arg', '_Retval', 'Placeholder', 'Identity')


def draw(name):
    """Initial values."""
    return random_state(0, purpose=name)


def counts(model_type):
    """((operations, those that start nothing) of a training step, the same of an evaluated batch)."""
    experiment = resolve(flags_of_main().parse_args([
        '--data_type', 'DIGITS5', '--lifelong', '--num_tasks', '1', '--model_type', model_type]),
        lambda line: None)
    tasks = load_tasks('DIGITS5', 'Data', num_tasks=1, say=lambda line: None)
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(experiment, 0, tasks, TrialContext(folder, runtime.session_config(1)), None)
    method = trial.method
    with TaskGraph(method, method.start_task(0, {}, draw), tasks[0], tasks, draw, trial.settings) as graph:
        method.start_phase(graph, 0, 0)
        return [_count(graph, lambda: _step(graph, method, experiment)),
                _count(graph, lambda: graph.probe('logits0', tasks[0].valid))]


def _step(graph, method, experiment):
    rows = np.arange(experiment.training.batch_size)
    names = ('training', 'validation')[:1 + method.validation_batches]
    graph.step(dict.fromkeys(names, rows), experiment.training.lr, (0, 1))


def _count(graph, action):
    """(operations, those that start nothing) of what `action` runs, once TensorFlow has rewritten it."""
    for _ in range(2):
        action()
    graph.session = Traced(graph.session)
    action()
    kinds = [node.timeline_label.split(' = ')[-1].split('(')[0] for node in graph.session.operations()]
    graph.session = graph.session.session
    return len(kinds), sum(kind in NOTHING for kind in kinds)


def main():
    """Command line."""
    parser = Parser(description=__doc__.split('\n')[0])
    parser.add_argument('--models', type=lambda text: tuple(models_argument(text)), default='',
                        help='model types, separated by commas (default: all)')
    flags = parser.parse_args()
    print('TensorFlow %s; DIGITS5, first task: operations that do something, and others' % tf.__version__)
    print('%-18s %18s %18s' % ('model', 'training step', 'evaluated batch'))
    for name in flags.models or MODELS:
        print('%-18s %18s %18s' % ((name,) + tuple('%d + %d' % (whole - nothing, nothing)
                                                   for whole, nothing in counts(name))))
        sys.stdout.flush()


if __name__ == '__main__':
    run_command(main)
