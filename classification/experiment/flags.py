"""The flags of the command line: names, defaults, what --help says. What they mean is resolved in
experiment.py."""
import argparse
import re

from utils.paths import path_argument


class Parser(argparse.ArgumentParser):
    """Answers a mistake in one line with exit status 2."""

    def __init__(self, *args, **more):
        super(Parser, self).__init__(*args, **more)
        # What begins with a minus sign and is no flag but a value; older versions of argparse know -1 and
        # -0.5 only.
        self._negative_number_matcher = re.compile(r'-(\.?\d|inf|nan)', re.IGNORECASE)

    def parse_known_args(self, args=None, namespace=None):
        namespace, others = super(Parser, self).parse_known_args(args, namespace)
        for action in self._actions:        # some versions of argparse make a list of --name=--
            values = getattr(namespace, action.dest, None)
            if isinstance(action, argparse._AppendAction):
                values = next((value for value in values or () if isinstance(value, list)), None)
            if action.nargs is None and isinstance(values, list):
                self.error('argument --%s: expected one argument' % action.dest)
        return namespace, others

    def error(self, message):
        from utils.utils import tell_error  # imports NumPy, for which --help need not wait
        self.exit(tell_error('%s (--help lists all flags)' % message))


class _Given(argparse.Action):
    """Stores a value, and in `given` that the user gave it."""

    def __call__(self, parser, namespace, values, option_string=None):
        value = True if self.nargs == 0 else values
        setattr(namespace, self.dest, value)
        namespace.given = dict(namespace.given, **{self.dest: value})


def _jobs(text):
    """The argument of --jobs: a number; None: auto."""
    try:
        return None if text == 'auto' else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError('%s: a number, or auto, is needed' % text) from None


def _gpus(text):
    """'0,1' -> (0, 1)."""
    return tuple(int(number) for number in text.split(','))


_gpus.__name__ = 'list of GPUs'      # for argparse's message


PLUGIN = dict(action='append', metavar='FILE.py', type=path_argument,
              help='load a file that declares methods, mechanisms or data sets (docs/extending.md); may be '
                   'repeated (default: none)')


def load_plugins(argv):
    """Loads the files that a command line gives with --plugin, before their options are asked for.

    Args:
        argv: list of words; None: those of this process.
    Raises:
        UserError: a file cannot be loaded.
    """
    first = Parser(add_help=False, allow_abbrev=False)
    # the real one says what is missing
    first.add_argument('--plugin', action='append', nargs='?', type=path_argument)
    paths = [path for path in first.parse_known_args(argv)[0].plugin or () if path is not None]
    if paths:
        from classification.experiment.plugin_files import load
        load(paths)


def _data_flags(data):
    from classification.data.readers_images import OPTIONS  # imports NumPy
    data.add_argument('--data_type', default='MNIST5',
                      help='data set; --list shows all (default: %(default)s)')
    data.add_argument('--data_percent', type=int, default=None,
                      help='share of the data that is used, in percent; --list shows the sizes that a data '
                           'set knows (default: 100)')
    data.add_argument('--num_tasks', type=int, default=None, help='use the first N tasks only (default: all)')
    data.add_argument('--shuffle_classes', action='store_true',
                      help='each trial exchanges the classes of the tasks, drawn from --seed: tasks of other '
                           'classes in each trial')
    data.add_argument('--splits', type=path_argument, default=None, metavar='FOLDER',
                      help='train on exactly the classes and images of these files: trialN/splits.npz, as '
                           'trials write them, or trialN.npz; see docs/data.md (default: drawn from --seed)')
    data.add_argument('--normalize', choices=('split', 'train'), default='split',
                      help='CIFAR: standardise each split with its own statistics, or all splits with the '
                           'training split\'s (default: %(default)s)')
    data.add_argument('--data_augment', action='store_true',
                      help='augment training batches: each image is, with equal chances, left as it is, put '
                           'under noise, rotated by 180 degrees, or shifted')
    data.add_argument('--data_dir', type=path_argument, default='Data',
                      help='folder of the raw data and of caches (default: %(default)s)')
    data.add_argument('--download', action='store_true',
                      help='fetch the data set\'s files into --data_dir if they are not there')
    data.add_argument('--archive', type=path_argument, nargs='+', default=None, metavar='FILE',
                      help='take the data set\'s files from these archives, which were downloaded by hand '
                           '(default: none)')
    data.add_argument('--images', type=path_argument, default=None, metavar='PATH',
                      help='your own images for --data_type Images: a folder of class folders or of task '
                           'folders of class folders, also below train/ and test/; a .csv or .npz file '
                           '(docs/own_images.md; default: none)')
    for option in OPTIONS:
        _add_option(data, option)


def _method_flags(method):
    method.add_argument('--model_type', default='STL', help='method; --list shows all (default: %(default)s)')
    method.add_argument('--test_type', type=int, default=0,
                        help='number of a transfer configuration; --list shows them (default: %(default)s)')
    method.add_argument('--transfer_config', default=None,
                        help='which layers are shared, by name: all, none, topK, bottomK, alternating, or '
                             'one letter per layer like TTSS (S: shared, T: task-specific, input side first) '
                             '(default: as --test_type says)')
    method.add_argument('--num_clayers', type=int, default=-1,
                        help='number of convolution layers (default: the data set\'s, --list shows it)')
    method.add_argument('--skip_connect_test_type', type=int, default=0,
                        help='number of a preset of skip connections; 0: none (default: %(default)s)')
    method.add_argument('--cnn_padtype_valid', action='store_true',
                        help='pad neither convolutions nor pools (TensorFlow\'s VALID instead of SAME)')


def _add_option(group, option):
    """The flag of a declared option, whose help says the default where that is not one word."""
    default = option.fixed_default if not isinstance(option.default, tuple) else None
    shown = '' if default is None or default is False else ' (default: %s)' % (
        '%g' % default if isinstance(default, float) else default)
    how = {'nargs': 0} if isinstance(default, bool) else {'type': option.check.read,
                                                          'choices': option.check.choices}
    group.add_argument('--' + option.flag, action=_Given, default=default,
                       help=(option.help + shown).replace('%', '%%'), **how)


def _option_flags(method):
    from classification.model.registry import all_options  # imports NumPy
    from utils.utils import UserError
    for option in all_options().values():
        try:
            _add_option(method, option)
        except argparse.ArgumentError:
            raise UserError('option %s: --%s is a flag of main.py already; choose another one'
                            % (option.name, option.flag)) from None
    method.set_defaults(given={})
    method.add_argument('--set', action='append', metavar='NAME=VALUE',
                        help='set an option of the method or data set by its name, also one without a flag; '
                             'may be repeated; --list shows the options (default: none)')


def _start_flags(method):
    method.add_argument('--tensorfactor_param_path', type=path_argument, default=None, metavar='FILE',
                        help='TF: knowledge bases and factors start from this parameter file of a TF model '
                             '(--saveparam); looked for below --result_dir, then as a path of its own '
                             '(default: they are drawn)')


def _schedule_flags(schedule):
    schedule.add_argument('--lifelong', action='store_true',
                          help='train one task after the other; without it, all tasks together (STL, SNN, '
                               'HPS, Hybrid_TF, Hybrid_DFCNN, APD)')
    schedule.add_argument('--task_order_type', type=int, default=0,
                          help='order of the tasks; 0: each task once; 1: the first half, then all; 2: all '
                               'tasks twice (default: %(default)s)')
    schedule.add_argument('--task_order', default=None, metavar='ORDER',
                          help='the tasks to learn, in this order, like 3,1,0,2; shuffled: each trial draws '
                               'an order of all tasks from --seed (default: as --task_order_type says)')
    schedule.add_argument('--same_order', action='store_true',
                          help='--task_order shuffled: all trials have the same order')
    schedule.add_argument('--epochs_per_task', type=int, default=None,
                          help='epochs of training per task (default: the data set\'s, --dry_run shows it)')
    schedule.add_argument('--learning_rate', type=float, default=None,
                          help='learning rate of the first epoch (default: the data set\'s)')
    schedule.add_argument('--lr_decay', type=float, default=None,
                          help='fall of the learning rate: at epoch e of a trial it is --learning_rate / (1 '
                               '+ X * e) (default: the data set\'s)')
    schedule.add_argument('--batch_size', type=int, default=None,
                          help='images of a training step (default: the data set\'s)')
    schedule.add_argument('--early_stopping', type=int, default=None, metavar='N',
                          help='end a task when validation accuracy has not improved for N epochs, or for '
                               '1.5 times the epochs to the best one if these are more, and keep the best '
                               'epoch\'s parameters (default: off)')
    schedule.add_argument('--eval_interval', type=int, default=1, metavar='N',
                          help='evaluate earlier tasks every N epochs, and at the end of each task '
                               '(default: %(default)s)')
    schedule.add_argument('--num_runs', type=int, default=5, help='number of trials (default: %(default)s)')
    schedule.add_argument('--seed', type=int, default=0,
                          help='seed of every random draw (default: %(default)s)')


def _analysis_flags(analyses):
    analyses.add_argument('--saveparam', action='store_true',
                          help='write the parameters after each task, below params/ of --result_dir')
    analyses.add_argument('--save_predictions', action='store_true',
                          help='write what each test image was taken for after each task, below predictions/ '
                               'of --result_dir')
    analyses.add_argument('--leep', action='store_true',
                          help='compute LEEP scores: how well each earlier task\'s network transfers to a '
                               'task before it is learned')
    analyses.add_argument('--without_task_identity', action='store_true',
                          help='evaluate also without telling the task of a test image, after each task: the '
                               'most confident of the learned tasks\' networks answers')
    analyses.add_argument('--mutual_info', action='store_true',
                          help='compute the mutual information of each convolution layer with the images '
                               'and with the labels, after training')
    analyses.add_argument('--mutual_info_alpha', type=float, default=1.01,
                          help='--mutual_info: order of the Renyi entropy (default: %(default)g)')
    analyses.add_argument('--mutual_info_kernel_h', type=float, default=1.,
                          help='--mutual_info: kernel width for images and layers, in units of n^(-1/(4+d)) '
                               'for n images of d values (default: %(default)g)')
    analyses.add_argument('--mutual_info_kernel_h_backward', type=float, default=1.,
                          help='--mutual_info: kernel width for the labels, in the same units (default: '
                               '%(default)g)')
    analyses.add_argument('--stl_analysis', action='store_true',
                          help='STL: learn one task only, from as many images as the tasks up to it have, '
                               'augmented')
    analyses.add_argument('--stl_task_to_learn', type=int, default=-1,
                          help='--stl_analysis: the task to learn; -1: none (default: %(default)s)')
    analyses.add_argument('--stl_total_data_ratio', type=float, default=1.,
                          help='--stl_analysis: share of the images to train on, 0 to 1; never fewer than '
                               'the task\'s own (default: %(default)g)')


def _grid_flags(grid):
    from utils.utils import at_least  # imports NumPy
    grid.add_argument('--grid', action='append', metavar='NAME=V1,V2,...',
                      help='train an experiment with each of these values of an option of the method or the '
                           'data set (as --set takes it) or of the schedule (docs/choosing.md), and choose '
                           'the one with the best validation accuracy; may be repeated: every combination; '
                           'values that hold a comma: --grid NAME=V for each (default: none)')
    grid.add_argument('--grid_measure', choices=('final', 'peak'), default='final',
                      help='validation accuracy that is compared: after the last task, or at the best epoch '
                           'of each task (default: %(default)s)')
    grid.add_argument('--grid_runs', type=at_least(1), default=None, metavar='N',
                      help='trials of each combination, which choose and are not reported; the chosen one is '
                           'then trained with --seed and --num_runs (default: those of --num_runs choose)')
    grid.add_argument('--grid_seed', type=at_least(0), default=None, metavar='N',
                      help='--grid_runs: seed of these trials, another one than --seed (default: none)')
    grid.add_argument('--grid_element', type=at_least(1), default=None, metavar='N',
                      help='train the N-th combination only and choose nothing: for jobs side by side; then '
                           'the same command without it chooses (default: all)')


def _run_flags(run):
    run.add_argument('--gpu', type=_gpus, default='-1',
                     help='GPU to train on: N-th of the visible ones, or several like 0,1,2 for --jobs; -1: '
                          'the CPU (default: %(default)s)')
    run.add_argument('--scheduler', default=None, metavar='ADDRESS',
                     help='train the trials on the workers of a Dask cluster; the address of its scheduler, '
                          'like tcp://host:8786 (default: on this machine)')
    run.add_argument('--jobs', type=_jobs, default='auto',
                     help='train so many trials side by side; auto: on a GPU or with --scheduler 1, on the '
                          'CPU as many as cores and memory allow, which is fastest (default: %(default)s)')
    run.add_argument('--gpu_memory_fraction', type=float, default=None,
                     help='share of a GPU\'s memory that a trial may take (default: all it needs, but where '
                          'several trials use one GPU equal shares of 0.9)')
    run.add_argument('--threads', type=int, default=None,
                     help='CPU threads of a trial (default: what its experiment began with, else the cores '
                          'of this machine / --jobs; with --scheduler the worker\'s cores)')
    run.add_argument('--save_mat_name', default='delete_this.mat',
                     help='name of the result file, below --result_dir (default: %(default)s)')
    run.add_argument('--result_dir', type=path_argument, default='Result',
                     help='folder of the results (default: %(default)s)')
    run.add_argument('--checkpoint_minutes', type=float, default=5,
                     help='minutes between checkpoints inside a task; 0: every epoch (default: %(default)g)')
    run.add_argument('--restart', type=_trials, nargs='?', const=(), default=None, metavar='TRIALS',
                     help='train again although this experiment is finished or begun: all trials, whose '
                          'results are then added, or only some like 0,2, whose results are then replaced '
                          '(default: none)')
    run.add_argument('--no_continue', action='store_true',
                     help='do not keep the state of each trial after its last task, from which the same '
                          'command with more tasks goes on')
    run.add_argument('--savegraph', action='store_true',
                     help='write the first trial\'s graphs for TensorBoard')
    run.add_argument('--tensorboard', action='store_true',
                     help='write each trial\'s accuracies, epoch by epoch, for TensorBoard')
    run.add_argument('--from_config', type=path_argument, default=None, metavar='CONFIG',
                     help='run what this config.json of an earlier run says; flags beside it override it '
                          '(default: none)')
    run.add_argument('--dry_run', action='store_true', help='print the resolved experiment and exit')
    run.add_argument('--list', action='store_true',
                     help='print data types, model types and transfer configurations, and exit')
    run.add_argument('--quiet', action='store_true', help='print errors and the final table only')


def _trials(text):
    """'0,2' as numbers."""
    numbers = tuple(int(number) for number in text.split(','))
    if min(numbers) < 0:
        raise ValueError(text)
    return numbers


_trials.__name__ = 'list of trials like 0,2'        # in argparse's message


# Type of a flag -> what its value is called in --help.
METAVARS = {None: 'NAME', int: 'N', float: 'X', path_argument: 'PATH', _gpus: 'N[,N...]'}
# flags of the authors' release
WITHOUT_EFFECT = ('highway_connect_test_type', 'phase1_max_epoch', 'num_classes')


def parser(argv=()):
    """The argument parser; a mistake leaves with one line and exit status 2.

    Args:
        argv: the command line, of which the plug-ins are loaded: their options have flags, too.
    """
    load_plugins(argv)
    return _parser([_method_flags, _option_flags, _start_flags])


def own_flags():
    """Names of the flags, and of what else the parser's namespace holds, that belong to no declared
    option."""
    made = _parser([_method_flags, _start_flags])
    return {action.dest for action in made._actions} | {'set', 'given'}


def settings_of(flags):
    """{name: value}: what a namespace says of the experiment itself; not where it runs, with how many trials,
    among which others it is chosen, and where data and results are."""
    aside = argparse.ArgumentParser(add_help=False)
    _run_flags(aside)
    _grid_flags(aside)
    names = {action.dest for action in aside._actions} | set(WITHOUT_EFFECT) | {
        'data_dir', 'download', 'archive', 'num_runs', 'plugin', 'given'}
    return {name: value for name, value in vars(flags).items() if name not in names}


def _parser(of_methods):
    made = Parser(
        description='Trains convolutional networks on a sequence of image-classification tasks and finds '
                    'which layers to share.', allow_abbrev=False,
                   formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=118))
    for title, add in (('data', [_data_flags]), ('method', of_methods),
                       ('schedule', [_schedule_flags]), ('analyses', [_analysis_flags]),
                       ('choice of hyper-parameters', [_grid_flags]), ('run', [_run_flags])):
        group = made.add_argument_group(title)
        for add_to in add:
            add_to(group)
        if title == 'analyses':
            group.description = ('results beside the accuracies; an experiment with one of them is another '
                                 'experiment')
        if title == 'choice of hyper-parameters':
            group.description = 'on validation data; test accuracy takes no part'
        if title == 'run':
            group.add_argument('--plugin', **PLUGIN)
    other = made.add_argument_group('accepted without effect')
    for name in WITHOUT_EFFECT:
        other.add_argument('--' + name, type=int, default=None,
                           help='accepted since the authors\' release has it; does nothing')
    for action in made._actions:        # the flag's name a second time would say nothing
        if action.nargs is None and not action.metavar and not action.choices:
            action.metavar = METAVARS.get(action.type, 'VALUE')
    return made
