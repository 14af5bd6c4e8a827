"""One experiment on Slurm: its trials train in jobs that dask-jobqueue starts, and replaces when they end.

    python3 -m pip install dask-jobqueue
    python3 scripts/slurm_dask.py --workers 5 --cores 4 --memory 8GB --hours 24 -- MAIN_OPTIONS...

It stays until main.py is through, so start it where long processes may run (tmux, or a small job). For PBS,
LSF or SGE replace SLURMCluster; nothing else knows Slurm.
"""
import argparse
import os
import subprocess
import sys

try:
    import dask_jobqueue
except ImportError:
    sys.exit('error: dask-jobqueue is missing; run: %s -m pip install dask-jobqueue' % sys.executable)

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)
from classification.experiment.flags import Parser  # noqa: E402
from utils.utils import at_least, take_signals  # noqa: E402

MAIN = os.path.join(ROOT, 'main.py')
MINUTES_TO_LEAVE = 10       # before the job ends its worker does, and the trial goes on in another job


def start_cluster(flags):
    """A Dask cluster of `--workers` jobs; each has one worker, which trains one trial at a time."""
    old = dask_jobqueue.__version__.startswith(('0.6', '0.7'))
    for_job, for_worker = ('job_extra', 'extra') if old else ('job_extra_directives', 'worker_extra_args')
    lifetime = ['--lifetime', '%dm' % (60 * flags.hours - MINUTES_TO_LEAVE), '--lifetime-stagger', '5m']
    cluster = dask_jobqueue.SLURMCluster(
        cores=1, processes=1, job_cpu=flags.cores, memory=flags.memory, walltime='%d:00:00' % flags.hours,
        interface=flags.interface, python=sys.executable, **{for_job: flags.sbatch, for_worker: lifetime})
    cluster.adapt(minimum_jobs=flags.workers, maximum_jobs=flags.workers)      # ended jobs are replaced
    return cluster


def run_main(address, options):
    """Runs main.py on the cluster; signals go to it, so that its trials save checkpoints.
    Returns its exit status."""
    child = subprocess.Popen([sys.executable, MAIN, '--scheduler', address] + options)
    take_signals(lambda caught, frame: child.send_signal(caught))
    return child.wait()


def main():
    """Returns the exit status of main.py."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--workers', type=at_least(1), default=5,
                        help='jobs side by side (default: %(default)s)')
    parser.add_argument('--cores', type=at_least(1), default=4, help='of a job (default: %(default)s)')
    parser.add_argument('--memory', default='8GB', help='of a job (default: %(default)s)')
    parser.add_argument('--hours', type=at_least(1), default=24,
                        help='that a job may take (default: %(default)s)')
    parser.add_argument('--interface', default=None, help='network interface of the scheduler (default: any)')
    parser.add_argument('--sbatch', action='append', default=[], metavar='OPTION',
                        help='more for sbatch, like --sbatch=--gres=gpu:1; may be repeated (default: none)')
    parser.add_argument('options', nargs=argparse.REMAINDER, metavar='-- MAIN_OPTIONS',
                        help='what main.py is given')
    flags = parser.parse_args()
    cluster = start_cluster(flags)
    try:
        return run_main(cluster.scheduler_address, [word for word in flags.options if word != '--'])
    finally:
        cluster.close()


if __name__ == '__main__':
    sys.exit(main())
