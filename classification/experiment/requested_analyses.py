"""What can be asked for beside training and accuracies: the flags, checked, as an experiment keeps them.

Nothing here imports TensorFlow. What the analyses compute is in augmentation.py, leep.py,
mutual_information.py, task_identity.py and parameter_files.py.
"""
from collections import OrderedDict

from classification.experiment import tensor_factors
from classification.results import parameter_files
from utils.utils import UserError

# Flags that mean something only beside another one, and their defaults.
DEPENDENT = [('stl_analysis', ('stl_task_to_learn', 'stl_total_data_ratio')),
             ('mutual_info', ('mutual_info_alpha', 'mutual_info_kernel_h', 'mutual_info_kernel_h_backward'))]
DEFAULTS = OrderedDict([('stl_task_to_learn', -1), ('stl_total_data_ratio', 1.), ('mutual_info_alpha', 1.01),
                        ('mutual_info_kernel_h', 1.), ('mutual_info_kernel_h_backward', 1.)])
LARGEST = 1e6         # of the mutual information's numbers


def asked(flags, model_type, mechanism, net, num_tasks, say):
    """The analyses that the flags ask for: dict name -> setting, JSON-able; without those that were not asked
    for.

    data_augment: True; stl_analysis: {task, ratio}; leep: True; mutual_info: {alpha, kernel_h,
    kernel_h_backward}; without_task_identity: True; saveparam: True; save_predictions: True;
    tensorfactor: checksum of the values that the file gives.

    Args:
        flags: namespace of main.py's parser.
        mechanism: of the model.
        net: utils_env_cl.Net.
        num_tasks: tasks of the experiment.
        say: function of one line for the user.
    Raises:
        UserError: anything wrong or impossible in these flags, or in the file of --tensorfactor_param_path.
    """
    for switch, names in DEPENDENT:
        for name in names:
            if getattr(flags, name) != DEFAULTS[name] and not getattr(flags, switch):
                raise UserError('--%s is a setting of --%s; add --%s, or leave it away'
                                % (name, switch, switch))
    for name in ('leep', 'stl_analysis', 'without_task_identity'):
        if getattr(flags, name) and not flags.lifelong:
            raise UserError('--%s is about tasks that come one after the other; add --lifelong' % name)
    found = OrderedDict((name, True) for name in ('data_augment', 'leep', 'saveparam',
                                                  'save_predictions', 'without_task_identity')
                        if getattr(flags, name))
    if flags.stl_analysis:
        found['stl_analysis'] = _stl_analysis(flags, model_type, num_tasks, say)
    if flags.mutual_info:
        found['mutual_info'] = _mutual_info(flags)
    if flags.tensorfactor_param_path is not None:
        if mechanism != 'tf':
            raise UserError('--tensorfactor_param_path: %s has no tensor factors; use a model ending in TF'
                            % model_type)
        path = tensor_factors.find(flags.result_dir, flags.tensorfactor_param_path)
        found['tensorfactor'] = parameter_files.checksum(tensor_factors.tensor_factors(path, net))
    return found


def _stl_analysis(flags, model_type, num_tasks, say):
    task, ratio = flags.stl_task_to_learn, flags.stl_total_data_ratio
    if model_type != 'STL':
        raise UserError(
            '--stl_analysis learns one task by itself, which is --model_type STL; %s was asked for'
            % model_type)
    if not 0 <= task < num_tasks:
        raise UserError('--stl_task_to_learn %d: --stl_analysis needs the number of a task, 0 to %d'
                        % (task, num_tasks - 1))
    if ratio != ratio:
        raise UserError('--stl_total_data_ratio %g: a share between 0 and 1 is needed' % ratio)
    if flags.early_stopping is not None:
        raise UserError(
            '--early_stopping: --stl_analysis always stops by the published patience rule; leave it away')
    clipped = min(max(ratio, 0.), 1.)
    if clipped != ratio:
        say('--stl_total_data_ratio %g is taken as %g' % (ratio, clipped))
    return {'task': task, 'ratio': clipped}


def _mutual_info(flags):
    settings = OrderedDict()
    for name in DEPENDENT[1][1]:
        value = getattr(flags, name)
        if not 0 < value <= LARGEST:
            raise UserError('--%s %g: a number greater than 0 and at most %g is needed'
                            % (name, value, LARGEST))
        settings[name[len('mutual_info_'):]] = value
    return settings


def check_disjoint(data_type, order, classes):
    """Raises a UserError if a class belongs to several tasks: which of them is right would not be defined.

    Args:
        order: of the tasks that are learned.
        classes: names of the classes of each task of the data set.
    """
    owners = {}
    for task in OrderedDict.fromkeys(order):
        for name in classes[task]:
            other = owners.setdefault(name, task)
            if other != task:
                raise UserError('--without_task_identity: %s has the class %s in task %d and in task %d, and '
                                'needs tasks without common classes; leave it away, or take other tasks'
                                % (data_type, name, other, task))


def info(settings, patience):
    """What `model_specific_info` of the .mat file says of the analyses: dict name -> value.

    Args:
        settings: what `asked` gave.
        patience: P, published epochs of a task.
    """
    fields = OrderedDict()
    fields.update((name, True) for name in ('data_augment', 'without_task_identity') if name in settings)
    if 'stl_analysis' in settings:
        task = settings['stl_analysis']['task']
        fields.update([('STL_analysis', True), ('STL_analysis_task', task),
                       ('STL_analysis_ratio', settings['stl_analysis']['ratio']),
                       ('STL_analysis_comparable_epoch', 1 + patience * task)])
    for name, value in settings.get('mutual_info', {}).items():
        fields['mutual_info_' + name] = value
    return fields
