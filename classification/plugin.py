"""What a plug-in imports: this module never moves. docs/extending.md shows a file for each kind of extension.

A plug-in is one Python file that `--plugin FILE.py` loads. It declares things with the decorators and calls
by which this project declares its own:

    mechanism, selection, method    decorators of classes, which say what each argument means
                                    (classification.model.declare)
    data_set                        the same for a function that makes or reads images
                                    (classification.data_sets)
    Option                          a hyper-parameter: name, default, check, help, flag; the check is one of
                                    number, whole, numbers, one_of, yes_or_no, text, or_none

Base classes, whose docstrings say what each hook is given, in which shapes, and what it returns:

    Mechanism        weights(task): kernel [height, width, in, out] and bias [out] of a layer; extra_loss,
                     regulariser (classification.model.mechanisms)
    Method           life cycle (LifeCycle), network (Network), hints for evaluation (EvaluationHints)
                     (classification.model.method)
    FixedPattern     a Method whose shared layers are known beforehand
                     (classification.model.cnn_baseline_model)
    PatternSearch    a Method that chooses between a shared and a task-specific candidate of each layer
                     (classification.model.search)

`tf` is tensorflow.compat.v1, imported at its first use, so that a declaration takes no time; `nn` has the
layers, losses and initial values of the project (utils.utils_nn): `truncated_normal`, `zeros`,
`cross_entropy`, `minimize`, `head`, `dropout`. `Network` and `Training` (utils.utils_env_cl) describe a data
set's network and training. What the hooks are given is described where it is defined: `batch` and `setting`
(classification.model.method.Batch and Setting, whose `options` are the declared ones by name), `parameters`
(utils.utils_nn.Parameters), `graph` (classification.trial.task_graph.TaskGraph).
"""
from classification.data_sets import data_set  # noqa: F401
from classification.model.cnn_baseline_model import FixedPattern  # noqa: F401
from classification.model.declare import mechanism, method, selection  # noqa: F401
from classification.model.mechanisms import Mechanism  # noqa: F401
from classification.model.method import Batch, Method, Setting  # noqa: F401
from classification.model.search import PatternSearch  # noqa: F401
from utils import utils_nn as nn  # noqa: F401
from utils.declarations import Option, number, numbers, one_of, or_none, text, whole, yes_or_no  # noqa: F401
from utils.lazy_tensorflow import tf  # noqa: F401
from utils.utils import UserError  # noqa: F401
from utils.utils_env_cl import Network, Training  # noqa: F401
