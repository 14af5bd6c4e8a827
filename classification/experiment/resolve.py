"""From the flags of a command line to the experiment that they ask for, checked before any data is
touched."""
from collections import OrderedDict

from classification import gen_data
from classification.experiment import compositions, own_images, requested_analyses, task_orders
from classification.experiment.experiment import Experiment, numeric_versions, plugins_of
from classification.model.declare import check_different
from classification.model.registry import MODELS, all_options, canonical_model
from utils import utils_env_cl as env
from utils.declarations import LARGEST_NUMBER, Context, checked, read_setting, resolved
from utils.tensorflow_version import tensorflow_version
from utils.utils import UserError, lookup, without_credentials

# more would fill the memory before anything is trained
MAXIMA = {'num_runs': 10 ** 5, 'jobs': 4096, 'threads': 4096}


def resolve(flags, say, begun=dict):
    """The experiment that the flags ask for; names are checked before any data is touched.

    Args:
        flags: namespace of main.py's parser.
        say: function of one line, for what the user should know.
        begun: function -> dict folder -> config.json of the experiments under the same file name.
    Returns:
        Experiment; None where a dry run has said which data would be fetched first.
    Raises:
        UserError: anything wrong or impossible in the flags or the data files.
    """
    data_type = lookup({name: name for name in gen_data.DATASETS}, flags.data_type, 'data_type')
    dataset, model = gen_data.DATASETS[data_type], MODELS[canonical_model(flags.model_type)]
    _check_training(flags)
    check_different('%s on %s' % (model.name, data_type), model.options, dataset.options)
    given = given_options(flags, model.options, dataset.options)
    own = own_images.choose(flags, data_type, given, say, begun)
    dataset = gen_data.DATASETS[data_type]
    context = _context(flags, data_type, dataset, model, given)
    pattern = _pattern(flags, model, context)
    skips = env.skip_connections(context.family, context.depth, flags.skip_connect_test_type)
    net = env.build_net(context.network, dataset.image_shape, 'VALID' if flags.cnn_padtype_valid else 'SAME',
                        skips)
    options = model.resolve(context)
    data_options = _data_options(data_type, dataset, context) if own is None else own
    _check_model(flags, model.name, model, net)
    _check_numbers(flags, dataset, data_type)
    _check_devices(flags)
    num_tasks = flags.num_tasks or dataset.num_tasks
    asked = requested_analyses.asked(flags, model.name, model.mechanism, net, num_tasks, say)
    percent = None if flags.splits else gen_data.percent_of(data_type, dataset, flags.data_percent)
    splits = compositions.given_splits(flags, data_type, dataset)
    if not _fetched(flags, dataset, say):
        return None
    of_trials, of_data = _facts_of_data(flags, data_type, dataset, percent, model, options, splits, say)
    order, rule = task_orders.asked(flags, num_tasks, model)
    of_schedule = _schedule(flags, context.training, order, asked)
    if 'without_task_identity' in asked:
        for number in range(len(of_trials)):
            classes = compositions.classes_of_trial(flags, data_type, percent, splits, number)
            requested_analyses.check_disjoint(data_type, of_schedule['task_order'], classes)
    for sizes in of_trials:
        _check_sizes(sizes, of_schedule['training'], model.name, model,
                     '; take a larger --data_percent' if percent is not None else
                     '; take a smaller --batch_size' if own or splits else '')
    _say_remarks(flags, dataset, context, model, say)
    return Experiment(
        data_type=data_type, data_percent=percent,
        normalize=dataset.normalize or (flags.normalize if dataset.scaling is None else 'split'),
        class_counts={size[0]: size[1] for size in of_trials[0]}, model_type=model.name, net=net,
        pattern=pattern, options=options,
        keep=env.KEEP_PROBABILITY if options.get(model.method.dropout, True) else 1.,
        evaluation_batch=env.evaluation_batch(dataset.image_shape[0]), seed=flags.seed,
        lifelong=flags.lifelong, eval_interval=flags.eval_interval, analyses=asked, data_options=data_options,
        plugins=tuple(sorted(plugin.digest for plugin in plugins_of(model, dataset))), order_rule=rule,
        shuffle_classes=flags.shuffle_classes, splits=compositions.checksum_of(splits),
        **dict(of_data, **of_schedule))


def _data_options(data_type, dataset, context):
    """The options of a data set that is not the user's own images; from now on it has them."""
    options = resolved(dataset.options, context.without_options())
    gen_data.choose_options(data_type, options)
    return options


def _fetched(flags, dataset, say):
    """Fetches the data if that is asked for; returns whether they are there, which a dry run only says."""
    if not flags.download and not flags.archive:
        return True
    from classification.data.download import fetch
    return fetch(dataset.source, flags.data_dir, say, flags.archive or (), not flags.quiet, flags.dry_run)


def _context(flags, data_type, dataset, model, given):
    """What the defaults of options may depend on."""
    depth, network = env.network_of(dataset.family, data_type, flags.num_clayers)
    asked = {'lr': flags.learning_rate, 'lr_decay': flags.lr_decay, 'batch_size': flags.batch_size}
    training = env.TRAINING[dataset.family]._replace(
        **{name: value for name, value in asked.items() if value is not None})
    return Context(model.name, data_type, dataset.family, depth,
                   model.network(data_type, dataset.family, depth, network),
                   training, flags.test_type, given, flags.given)


def _check_training(flags):
    """A UserError for a learning rate or a decay that trains nothing."""
    for name, least in (('learning_rate', 'above 0'), ('lr_decay', 'of at least 0')):
        value = getattr(flags, name)
        if value is not None and not (0 < value < float('inf') or value == 0 and name == 'lr_decay'):
            raise UserError('--%s %g: a finite number %s is needed' % (name, value, least))
    if flags.batch_size is not None and not 1 <= flags.batch_size <= LARGEST_NUMBER:
        raise UserError('--batch_size %d: at least 1 and at most 2^63 - 1 is needed' % flags.batch_size)


def _facts_of_data(flags, data_type, dataset, percent, model, options, given, say):
    """(sizes of the tasks of each trial, or of one for all; fields of the Experiment that the files
    determine), of one version of the files.

    `given`: what compositions.given_splits gave.
    """
    with dataset.source.one_version():
        gen_data.check_request(data_type, percent, flags.data_dir)
        major = int(tensorflow_version().split('.')[0])
        sizes = compositions.sizes_of_trials(flags, data_type, percent, given)
        checksums = gen_data.checksums(data_type, flags.data_dir, flags.seed, bool(given))
        small_classes = gen_data.has_small_classes(data_type, flags.data_dir)
    other_files = compositions.other_files(data_type, checksums['raw'], given)
    if other_files:
        say('note: ' + other_files)
    versions = numeric_versions(model, options, small_classes, {data_type: dataset.version})
    return sizes, dict(checksums=checksums, tensorflow=major, numeric_versions=versions)


def _schedule(flags, training, order, asked):
    """Fields of the Experiment: how long each task is learned, in which order."""
    if flags.epochs_per_task is not None:
        training = training._replace(epochs=flags.epochs_per_task, patience=flags.epochs_per_task)
    early_stopping = flags.early_stopping or 0
    if 'stl_analysis' in asked:
        early_stopping = training.patience
        training = training._replace(epochs=training.epochs * len(order))
        order = (asked['stl_analysis']['task'],)
    return dict(training=training, early_stopping=early_stopping, task_order=order)


def given_options(flags, options, of_data=()):
    """dict name -> value of the declared options that the user gave with flags of their own or with --set.

    Args:
        of_data: options of the data set.

    Raises:
        UserError: a value is not possible, or said twice.
    """
    given, every = OrderedDict(), tuple(options) + tuple(of_data)
    for option in every:
        if option.flag in flags.given:
            value = flags.given[option.flag]
            given[option.name] = checked(option, value, '--%s %s' % (
                option.flag, '%g' % value if isinstance(value, float) else
                env.listed(value) if isinstance(value, tuple) else value))
    for words in flags.set or ():
        name, value = read_setting(words, every)
        if name in given:
            raise UserError('--set %s: %s is already said%s; leave one of them away' % (
                words, name, ''.join(' by --' + option.flag for option in every if option.name == name
                                     and option.flag)))
        given[name] = value
    return given


def _pattern(flags, model, context):
    if model.pattern == 'asked':
        if flags.transfer_config is not None:
            return env.pattern_from_name(flags.transfer_config, context.depth)
        return env.pattern_from_test_type(context.test_type, context.family, context.depth)
    if flags.transfer_config is not None:
        raise UserError('--transfer_config has no meaning for %s, which %s; leave it away'
                        % (model.name, 'searches for it' if model.pattern == 'searched' else
                           'shares %s layers' % ('all' if model.pattern == 'all' else 'no')))
    return None if model.pattern == 'searched' else env.pattern_from_name(model.pattern, context.depth)


def _check_model(flags, model_type, model, net):
    """What not every method can do."""
    for possible, asked, what, advice in (
            (model.method.revisits, flags.task_order_type, 'learns each task once',
             'use --task_order_type 0'),
            (model.method.skips, net.skips, 'has no skip connections',
             'use a network without them (--skip_connect_test_type 0)'),
            (model.method.stops_early, flags.early_stopping, 'hands on the last epoch of each task',
             'leave --early_stopping away')):
        if asked and not possible:
            raise UserError('%s %s; %s' % (model_type, what, advice))
    if flags.lifelong:
        return
    if not model.method.joint:
        raise UserError('%s learns one task after the other; add --lifelong' % model_type)
    for asked, what in ((flags.task_order_type, '--task_order_type'),
                        (flags.early_stopping, '--early_stopping'),
                        (flags.eval_interval > 1, '--eval_interval')):
        if asked:
            raise UserError(
                '%s has no meaning where all tasks are trained together, with the published early stopping; '
                'leave it away or add --lifelong' % what)


def _say_remarks(flags, dataset, context, model, say):
    """Says which flags have no effect, and what the method and the mechanism have to say of their options."""
    for name, why in _ignored(flags, dataset, context, model):
        say('--%s is ignored: %s' % (name, why))
    for part in (model.method, model.kind):
        remark = part.remark(context)
        if remark:
            say(remark)


def _ignored(flags, dataset, context, model):
    """(flag, why) of those given, that is with another value than the default, and without any effect
    here."""
    unused, options = '%s does not use it' % context.name, {option.flag: option for option in model.options
                                                            if option.flag}
    reasons = [(flag, unused, option.fixed_default) for flag, option in all_options().items()
               if flag not in options]
    reasons += [(flag, 'it is a setting of --%s' % option.needs, option.fixed_default) for flag,
                option in options.items()
                if option.needs and not context.options[option.needs]]
    if not context.asked_test_type:
        reasons.append(('test_type', unused if flags.transfer_config is None else '--transfer_config says it',
                        0))
    if dataset.sizes is None:
        reasons.append(('data_percent', '%s has no size table' % context.data_type, None))
    elif flags.splits:
        reasons.append(('data_percent', '--splits says the images', None))
    if dataset.scaling is not None or dataset.normalize:
        why = '--scaling says it' if dataset.normalize else '%s is not standardised' % context.data_type
        reasons.append(('normalize', why, 'split'))
    reasons += own_images.ignored(context.data_type)
    if (context.family, context.depth) in env.ALWAYS_SKIPPED:
        reasons.append(('skip_connect_test_type', '%d layers always have the same skip connections'
                        % context.depth, 0))
    if flags.stl_analysis:
        reasons.append(('task_order_type', '--stl_analysis learns one task', 0))
    if flags.gpu == (-1,):
        reasons.append(('gpu_memory_fraction', '--gpu -1 is the CPU', None))
    return [(name, why) for name, why, default in reasons if getattr(flags, name) not in (None, default)]


def _check_numbers(flags, dataset, data_type):
    if flags.num_tasks is not None and not 1 <= flags.num_tasks <= dataset.num_tasks:
        raise UserError('--num_tasks %d: %s has 1 to %d tasks'
                        % (flags.num_tasks, data_type, dataset.num_tasks))
    check_counts(flags)


def check_counts(flags):
    """Raises a UserError if a number is impossible, whatever the data set and the method."""
    for name, least in (('test_type', 0), ('epochs_per_task', 1), ('num_runs', 1), ('early_stopping', 1),
                        ('threads', 1),
                        ('seed', 0), ('checkpoint_minutes', 0), ('jobs', 1), ('eval_interval', 1)):
        value, most = getattr(flags, name), MAXIMA.get(name, LARGEST_NUMBER)
        if value is not None and not least <= value <= most:
            raise UserError('--%s %s: at least %d and at most %s is needed' % (
                name, value, least, most if name in MAXIMA else '2^63 - 1'))


def _check_devices(flags):
    gpus = ','.join(map(str, flags.gpu))
    if flags.gpu != (-1,) and (min(flags.gpu) < 0 or len(set(flags.gpu)) < len(flags.gpu)):
        raise UserError('--gpu %s: -1 (the CPU) or different numbers from 0 on are needed' % gpus)
    jobs = flags.jobs or 1
    if flags.scheduler is not None and (jobs > 1 or len(flags.gpu) > 1):
        raise UserError(
            '--scheduler %s: a trial uses one CPU or GPU of a worker, and as many run side by side as there '
            'are workers; leave --jobs away and give --gpu -1 or one number'
            % without_credentials(flags.scheduler, flags.scheduler))
    if len(flags.gpu) > jobs:
        raise UserError('--gpu %s: a trial uses one GPU; for %d trials side by side add --jobs %d'
                        % (gpus, len(flags.gpu), len(flags.gpu)))
    if flags.gpu_memory_fraction is not None and not 0 < flags.gpu_memory_fraction <= 1:
        raise UserError('--gpu_memory_fraction %g: a share above 0, at most 1, is needed'
                        % flags.gpu_memory_fraction)


def _check_sizes(sizes, training, model_type, model, advice):
    for index, classes, train, valid, test in sizes:
        if train < training.batch_size:
            raise UserError('task %d has %d training images, fewer than one batch of %d%s'
                            % (index, train, training.batch_size, advice))
        if min(valid, test) < 1:
            raise UserError('task %d has %d validation and %d test images; at least one of each is needed'
                            % (index, valid, test))
    if model.method.one_head and len({size[1] for size in sizes}) > 1:
        raise UserError('%s has one output layer for all tasks, but their numbers of classes differ: %s'
                        % (model_type, ', '.join(str(size[1]) for size in sizes)))
