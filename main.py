"""Trains convolutional networks on a sequence of image-classification tasks and finds which layers to share.

Options in, a .mat file out; knows no data set and no method by name.
"""
import sys

from classification.experiment.flags import WITHOUT_EFFECT, parser

TRIAL_COMMAND = '--run_trial'      # main.py starts itself with it, once per trial
CLUSTER_TRIAL_COMMAND = '--run_cluster_trial'      # the worker of a cluster starts main.py with it


def _leave(number, frame):
    raise KeyboardInterrupt


def main(argv=None):
    """Runs the command line; returns the exit status."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == [TRIAL_COMMAND] and len(argv) == 3:
        from classification.runs.trial_process import run_trial_process
        return run_trial_process(argv[1], int(argv[2]))
    if argv[:1] == [CLUSTER_TRIAL_COMMAND] and len(argv) == 5:
        from classification.runs.cluster_worker import run_cluster_trial
        return run_cluster_trial(argv[1], int(argv[2]), argv[3], int(argv[4]))
    from utils.utils import EXIT_FAILED, EXIT_INTERRUPTED, OutputError, UserError, error_text, tell_error
    try:
        return _command(argv)
    except KeyboardInterrupt:
        sys.stderr.write('interrupted; the same command goes on\n')
        return EXIT_INTERRUPTED
    except UserError as error:
        return tell_error(error)
    except (BrokenPipeError, OutputError):      # run_command sees to it
        raise
    except OSError as error:        # a full disk, mostly
        sys.stderr.write('error: %s; what was trained is kept, the same command goes on\n'
                         % error_text(error))
        return EXIT_FAILED


def _command(argv):
    """What the flags ask for; returns the exit status."""
    made = parser(argv)
    flags = made.parse_args(argv)
    if flags.list:
        from classification.experiment.describe import listing
        print(listing())
        return 0
    from utils.utils import printable, show, signals_to, without_credentials

    def say(line):
        if not flags.quiet:
            (print if flags.dry_run else show)(printable(without_credentials(line)))

    config = None
    if flags.from_config is not None:
        from classification.runs import from_config
        config, path = from_config.read(flags.from_config), flags.from_config
        argv = from_config.command_line(config, argv)
        flags = parser(argv).parse_args(argv)
    for name in WITHOUT_EFFECT:
        if getattr(flags, name) is not None:
            say('--%s has no effect' % name)
    from classification.experiment.grid import combinations
    from classification.runs.run_folder import resolved, result_name
    result_name(flags.save_mat_name)
    found = combinations(flags, argv, made)
    if flags.grid_element is not None:
        one = found[flags.grid_element - 1]
        argv, flags = one.argv, one.flags
    with signals_to(_leave):        # while trials run, their handler is another
        if flags.grid:
            from classification.train_grid import run_grid
            return run_grid(found, combinations(flags, argv, made, reported=True), flags, say)
        experiment = resolved(flags, say)
        if experiment is None:       # the data of a dry run are not there yet
            return 0
        for line in from_config.said(config, path, experiment) if config else ():
            say(line)
        if flags.dry_run:
            return _describe(experiment, flags)
        from classification.train_wrapper import run_experiment
        return run_experiment(experiment, flags, argv, say)


def _describe(experiment, flags):
    """Prints what would be trained; returns the exit status."""
    from classification.experiment.describe import dry_run
    from classification.runs.end_states import described
    from classification.runs.run_folder import ResultPaths
    from classification.trial.count_parameters import count  # imports TensorFlow
    print(dry_run(experiment, flags, count))
    for line in described(experiment, ResultPaths(flags.result_dir, flags.save_mat_name, experiment),
                          range(flags.num_runs)):
        print(line)
    return 0


if __name__ == '__main__':
    from utils.utils import run_command
    run_command(main)
