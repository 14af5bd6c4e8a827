"""What a plug-in imports: this module never moves. docs/extending.md shows a file for each kind of extension.

A plug-in is one Python file that `--plugin FILE.py` loads. It declares things with the decorators and calls
by which this project declares its own:

    mechanism, selection, method    (classification.model.declare) decorators of classes; they say what each
    argument means data_set                        (classification.data_sets) a data set made or read by a
    function Option                          a hyper-parameter: name, default, check, help, flag; its check is
    one of number, whole, numbers, one_of, yes_or_no, text, or_none

Base classes, whose docstrings say what each hook is given, in which shapes, and what it returns:

    Mechanism       weights(task): kernel [height, width, in, out] and bias [out] of a layer; extra_loss,
    regulariser Method          life cycle (LifeCycle), network (Network), hints for evaluation
    (EvaluationHints) FixedPattern    a Method whose shared layers are known beforehand
    PatternSearch   a Method that chooses between a shared and a task-specific candidate of each layer

`tf` is tensorflow.compat.v1, imported at its first use, so that a declaration takes no time; `nn` has the
layers, losses and initial values of the project (utils.utils_nn): `truncated_normal`, `zeros`,
`cross_entropy`, `minimize`, `head`, `dropout`. `Network` and `Training` (utils.utils_env_cl) describe a data
set's network and training. What `batch` (model.method.Batch), `parameters` (utils_nn.Parameters), `graph`
(task_graph.TaskGraph) and `setting` (model.method.Setting; its `options` are the declared ones by name) hold
stands in those classes.
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
