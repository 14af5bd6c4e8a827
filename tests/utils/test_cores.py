"""How many cores a trial takes by itself: affinity, control groups, Slurm."""
import os
import subprocess
import sys

import pytest

import main
from utils import cores

ROOT = os.path.dirname(os.path.abspath(main.__file__))


def fake_process(folder, groups, mounts):
    """A folder like /proc/self."""
    (folder / 'proc').mkdir()
    (folder / 'proc' / 'cgroup').write_text(''.join('%s\n' % line for line in groups))
    (folder / 'proc' / 'mountinfo').write_text('22 1 0:2 / / rw - ext4 /dev/sda rw\n' + ''.join(
        '31 23 0:28 %s %s rw,nosuid shared:9 - %s\n' % (root, folder / place, kind) for root, place,
        kind in mounts))
    return str(folder / 'proc')


def write(folder, path, **files):
    (folder / path).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / path / name.replace('__', '.')).write_text(content + '\n')


def test_quotas_of_version_2_hold_from_the_own_group_upwards(tmp_path):
    process = fake_process(tmp_path, ['0::/user/mine'], [('/', 'unified', 'cgroup2 cgroup2 rw')])
    write(tmp_path, 'unified/user/mine', cpu__max='max 100000')
    write(tmp_path, 'unified/user', cpu__max='350000 100000')
    write(tmp_path, 'unified/user/other', cpu__max='1000 100000')
    assert min(cores._quotas(process)) == 3.5


def test_quotas_of_version_1(tmp_path):
    process = fake_process(tmp_path, ['5:cpuset:/', '4:cpu,cpuacct:/job/step', '0::/'], [
        ('/', 'cpu', 'cgroup cgroup rw,cpu,cpuacct'), ('/', 'cpuset', 'cgroup cgroup rw,cpuset')])
    for place, quota in (('cpu/job/step', '-1'), ('cpu/job', '50000'), ('cpu', '-1')):
        write(tmp_path, place, cpu__cfs_quota_us=quota, cpu__cfs_period_us='100000')
    assert min(cores._quotas(process)) == 0.5


def test_quotas_of_a_container_that_sees_its_own_group_only(tmp_path):
    process = fake_process(tmp_path, ['4:cpu:/docker/abc', '0::/../outside'], [
        ('/docker/abc', 'cpu', 'cgroup cgroup rw,cpu'), ('/', 'unified', 'cgroup2 cgroup2 rw')])
    write(tmp_path, 'cpu', cpu__cfs_quota_us='400000', cpu__cfs_period_us='200000')
    write(tmp_path, 'unified', cpu__max='150000 100000')
    assert sorted(cores._quotas(process)) == [1.5, 2]


def test_memory_of_both_versions(tmp_path):
    """Of the groups that limit memory, not of those that limit cores."""
    process = fake_process(tmp_path, ['9:memory:/job', '4:cpu:/job', '0::/mine'], [
        ('/', 'memory', 'cgroup cgroup rw,memory'), ('/', 'cpu', 'cgroup cgroup rw,cpu'),
        ('/', 'unified', 'cgroup2 cgroup2 rw')])
    write(tmp_path, 'memory/job', memory__limit_in_bytes='900', memory__usage_in_bytes='200')
    write(tmp_path, 'cpu/job', memory__limit_in_bytes='1', memory__usage_in_bytes='1')
    write(tmp_path, 'unified/mine', memory__max='500', memory__current='400')
    write(tmp_path, 'unified', memory__max='max', memory__current='400')
    assert sorted(cores.memory(process)) == [100, 700]


@pytest.mark.parametrize('variables, expected', [
    ({}, []), ({'SLURM_MEM_PER_NODE': '16384'}, [16 * 2 ** 30]), ({'SLURM_MEM_PER_NODE': '0'}, []),
    ({'SLURM_MEM_PER_CPU': '1000'}, [3000 * 2 ** 20]),
    ({'SLURM_MEM_PER_CPU': '1000', 'SLURM_CPUS_PER_TASK': '2'}, [2000 * 2 ** 20]),
    ({'SLURM_MEM_PER_NODE': '2000', 'SLURM_MEM_PER_CPU': 'x'}, [2000 * 2 ** 20])])
def test_slurm_allocates_memory_of_a_node_or_of_each_core(variables, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: {0, 1, 2}, raising=False)
    for name in cores.SLURM + ('SLURM_MEM_PER_NODE', 'SLURM_MEM_PER_CPU'):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert list(cores.memory(str(tmp_path))) == expected


def test_there_may_be_no_control_groups(tmp_path):
    assert list(cores._quotas(str(tmp_path))) == []
    assert list(cores._quotas(fake_process(tmp_path, ['rubbish', '0::/'],
                                           [('/', 'none', 'cgroup2 cgroup2 rw')]))) == []


@pytest.mark.parametrize('variables, quota, expected', [
    ({}, [], 8), ({'SLURM_CPUS_PER_TASK': '4', 'SLURM_CPUS_ON_NODE': '6'}, [], 4),
    ({'SLURM_CPUS_ON_NODE': '6'}, [], 6),
    ({'SLURM_CPUS_PER_TASK': '40'}, [], 8), ({'SLURM_CPUS_PER_TASK': 'x', 'SLURM_CPUS_ON_NODE': '0'}, [], 8),
    ({'SLURM_CPUS_PER_TASK': '4'}, [3.5, float('inf')], 3), ({}, [0.5], 1)])
def test_the_smallest_limit_counts(variables, quota, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(8)), raising=False)
    process = fake_process(tmp_path, ['0::/above/mine'], [('/', 'unified', 'cgroup2 cgroup2 rw')])
    for group, share in zip(('unified/above/mine', 'unified/above'), quota):
        write(tmp_path, group, cpu__max='%s 100000' % ('max' if share == float('inf') else int(1e5 * share)))
    for name in cores.SLURM:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cores.cores(process) == expected


def test_a_real_quota_decides_the_default_number_of_threads(tmp_path):
    group = '/sys/fs/cgroup/cpu/lasem-test-%d' % os.getpid()
    try:
        os.mkdir(group)
    except OSError as error:
        pytest.skip('no control group can be made here: %s' % error.strerror)
    try:
        with open(group + '/cpu.cfs_quota_us', 'w') as stream:
            stream.write('50000')
        program = (
            'import os; open(%r, "w").write(str(os.getpid())); from utils.cores import cores, _quotas; '
            'print(cores(), min(_quotas("/proc/self")))' % (group + '/cgroup.procs'))
        assert subprocess.check_output([sys.executable, '-c', program], cwd=ROOT).split() == [b'1', b'0.5']
    finally:
        os.rmdir(group)


def test_what_counts_cores_asks_in_one_place():
    for name in ('classification/runs/trial_process.py', 'classification/runs/side_by_side.py',
                 'classification/data/readers_officehome.py'):
        with open(os.path.join(ROOT, name)) as stream:
            source = stream.read()
        assert ('from utils.cores import cores' in source and 'sched_getaffinity' not in source
                and 'os.cpu_count' not in source)
