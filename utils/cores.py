"""How many processor cores, and how much main memory, this process may use."""
import contextlib
import os

# What Slurm says that it allocated: cores; megabytes.
SLURM = 'SLURM_CPUS_PER_TASK', 'SLURM_CPUS_ON_NODE'
SLURM_MEMORY_OF_NODE, SLURM_MEMORY_OF_CORE = 'SLURM_MEM_PER_NODE', 'SLURM_MEM_PER_CPU'


def cores(process='/proc/self'):
    """How many whole cores are ours: by affinity, quotas of control groups and Slurm's allocation; at least
    1.

    Args:
        process: the folder in /proc whose control groups count.
    """
    try:
        limits = [len(os.sched_getaffinity(0))]
    except AttributeError:      # not on this system
        limits = [os.cpu_count() or 1]
    limits += [int(os.environ[name]) for name in SLURM if os.environ.get(name, '').isdigit()]
    limits += list(_quotas(process))
    return max(1, int(min(limit for limit in limits if limit > 0)))


def memory(process='/proc/self'):
    """Bytes of main memory that the control groups of a process still let it take, and those that Slurm
    allocated; nothing without a limit.

    Args:
        process: its folder in /proc.
    """
    for name, count in ((SLURM_MEMORY_OF_NODE, 1), (SLURM_MEMORY_OF_CORE, cores(process))):
        megabytes = os.environ.get(name, '')
        if megabytes.isdecimal() and int(megabytes):      # 0: all of the node's
            yield 2 ** 20 * int(megabytes) * count
    for path in _groups(process, 'memory'):
        for limit, taken in (('memory.max', 'memory.current'),
                             ('memory.limit_in_bytes', 'memory.usage_in_bytes')):
            # 'max', and the uppermost has no such file
            with contextlib.suppress(OSError, ValueError):
                yield max(0, _number(path, limit) - _number(path, taken) + _file_cache(path))


def _number(path, name):
    with open(os.path.join(path, name)) as stream:
        return int(stream.read())


def _file_cache(path):
    """Bytes of a control group that hold what was read of files, and that are given back when memory is
    short."""
    with contextlib.suppress(OSError, ValueError), open(os.path.join(path, 'memory.stat')) as stream:
        facts = dict(line.split() for line in stream)
        return int(facts.get('total_inactive_file', facts.get('inactive_file', 0)))
    return 0


def _quotas(process):
    """Cores that the control groups of a process, versions 1 and 2, and those above them give it; none
    without a quota.

    Args:
        process: its folder in /proc.
    """
    for path in _groups(process, 'cpu'):
        # the uppermost has no such file
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            yield _quota(path)


def _groups(process, controller):
    """Folders of the control groups of a process, versions 1 and 2, that may limit this; those above them
    too."""
    with contextlib.suppress(OSError, ValueError):
        with open(os.path.join(process, 'cgroup')) as stream:
            groups = [line.rstrip('\n').split(':', 2) for line in stream]
        with open(os.path.join(process, 'mountinfo')) as stream:
            mounts = [line.split() for line in stream]
        for _, controllers, group in groups:
            for root, folder, kind, options in map(_mount, mounts):
                if kind == 'cgroup2' and not controllers or kind == 'cgroup' and controller in (
                        controllers.split(',')) and controller in options.split(','):
                    for path in _upwards(folder, os.path.relpath(group, root)):
                        yield path


def _mount(fields):
    """(root in its file system, where it is, kind, options) of a line of mountinfo, split at blanks."""
    behind = fields[fields.index('-') + 1:]
    return fields[3], fields[4], behind[0], behind[-1]      # its source, between them, may be empty


def _upwards(folder, below):
    """Paths of the folder `below` and of those above it, up to `folder`;
    of this one alone if it lies elsewhere."""
    # elsewhere: the host's, in a container
    parts = [] if below == '.' or below.startswith('..') else below.split('/')
    for depth in range(len(parts), -1, -1):
        yield os.path.join(folder, *parts[:depth])


def _quota(path):
    """Cores, as a fraction, that a control group may use; infinite without a quota."""
    try:
        with open(os.path.join(path, 'cpu.max')) as stream:
            quota, period = stream.read().split()
    except FileNotFoundError:
        with open(os.path.join(path, 'cpu.cfs_quota_us')) as stream:
            quota = stream.read().strip()
        with open(os.path.join(path, 'cpu.cfs_period_us')) as stream:
            period = stream.read()
    return float('inf') if quota in ('max', '-1') else int(quota) / int(period)
