"""Result files of several users, with modes of their own, and behind symbolic links: they keep what they
are."""
import os
import shutil
import stat
import tempfile
import traceback
from types import SimpleNamespace

import pytest
import scipy.io  # noqa: F401  before users are changed, who cannot read it perhaps

from classification.results.mat_file import append_entry, check_writable, entries
from classification.runs.run_folder import ResultPaths
from tests.support.commands import experiment_of
from utils.utils import UserError, write_atomically

ANNA, BERT, GROUP = 54321, 54322, 54320       # of users and a group that need not be in any database
ENTRY = {'fingerprint': 'f0', 'history': [1., 2.]}


def mode(path):
    return stat.S_IMODE(os.stat(str(path)).st_mode)


@pytest.fixture
def shared():
    """A folder of a group, and what its members do there:
    as_user(uid, call) -> text of a UserError, '' if it went well."""
    if os.getuid() != 0:
        pytest.skip('only root can become two users')
    folder = tempfile.mkdtemp()         # every user may come here, unlike to pytest's own folders
    os.chown(folder, ANNA, GROUP)
    os.chmod(folder, 0o2775)

    def as_user(uid, call, umask=0o002):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                os.close(reader)
                os.umask(umask)
                os.setgroups([GROUP])
                os.setgid(uid)          # a group of the user's own
                os.setuid(uid)
                try:
                    call()
                except UserError as error:
                    os.write(writer, str(error).encode('utf-8'))
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader, 'rb') as stream:
            said = stream.read().decode('utf-8')
        assert os.waitpid(pid, 0)[1] == 0
        return said
    experiment = experiment_of()
    yield SimpleNamespace(folder=folder, mat=os.path.join(folder, 'all.mat'), as_user=as_user,
                          place=ResultPaths(folder, 'all.mat', experiment))
    shutil.rmtree(folder)


def append(path, run_id):
    return lambda: append_entry(path, dict(ENTRY, run_id=run_id))


def test_two_users_of_a_group_append_to_one_file(shared):
    for uid, run_id in ((ANNA, 'a0'), (BERT, 'b0'), (ANNA, 'a1')):
        assert shared.as_user(uid, shared.place.make) == ''
        assert shared.as_user(uid, append(shared.mat, run_id)) == ''
    assert [entry['run_id'] for entry in entries(shared.mat)] == ['a0', 'b0', 'a1']
    for path in (shared.mat, os.path.join(shared.folder, '.all.mat.lock'),
                 os.path.join(shared.place.run, 'log.txt')):
        assert mode(path) == 0o664 and os.stat(path).st_gid == GROUP, path
    assert mode(shared.place.run) == 0o2775


def test_a_lock_file_that_only_its_owner_can_write_is_in_nobodys_way(shared):
    """Older versions left such files."""
    lock = os.path.join(shared.folder, '.all.mat.lock')
    open(lock, 'w').close()
    os.chown(lock, ANNA, GROUP)
    os.chmod(lock, 0o644)
    assert shared.as_user(BERT, append(shared.mat, 'b0')) == ''


def test_what_cannot_be_written_at_the_end_is_said_before_training(shared):
    assert shared.as_user(ANNA, shared.place.make) == ''
    assert shared.as_user(ANNA, append(shared.mat, 'a0'), umask=0o022) == ''
    refusal = shared.mat + ' cannot be written: Permission denied'
    assert shared.as_user(BERT, shared.place.make) == refusal
    os.chmod(shared.mat, 0o664)
    assert shared.as_user(BERT, shared.place.make) == ''

    os.chmod(shared.folder, 0o3775)         # with the sticky bit
    assert 'belongs to another user' in shared.as_user(BERT, shared.place.make)
    assert shared.as_user(ANNA, shared.place.make) == ''
    os.chmod(shared.folder, 0o2775)

    shared.as_user(ANNA, lambda: os.mkdir(os.path.join(shared.place.run, 'trial0')), umask=0o022)
    said = shared.as_user(BERT, shared.place.make)
    assert said.startswith('--result_dir %s cannot be written: Permission denied ('
                           % shared.folder) and 'trial0' in said

    os.chmod(shared.folder, 0o2755)
    assert shared.as_user(BERT, lambda: check_writable(shared.mat)) == (
        '%s cannot be written: %s.token: Permission denied'
        % (shared.mat, os.path.join(shared.folder, '.all.mat.lock')))


def test_the_owner_stays_where_the_superuser_writes(shared):
    assert shared.as_user(ANNA, append(shared.mat, 'a0')) == ''
    append(shared.mat, 'root')()
    state = os.stat(shared.mat)
    assert (state.st_uid, state.st_gid) == (ANNA, GROUP) and len(entries(shared.mat)) == 2


def test_the_mode_stays(tmp_path):
    path = str(tmp_path / 'x.mat')
    append(path, 'r0')()
    for bits in (0o600, 0o640, 0o666):
        os.chmod(path, bits)
        append(path, 'r%d' % bits)()
        assert mode(path) == bits
    write_atomically(path, 'text')      # and of every file
    assert mode(path) == 0o666


def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path):
    for name in ('links', 'store'):
        (tmp_path / name).mkdir()
    link, target = tmp_path / 'links' / 'x.mat', tmp_path / 'store' / 'kept.mat'
    append(str(target), 'r0')()
    target.chmod(0o600)
    link.symlink_to(os.path.join('..', 'store', 'kept.mat'))
    check_writable(str(link))
    append(str(link), 'r1')()
    assert os.readlink(str(link)) == os.path.join('..', 'store', 'kept.mat') and mode(target) == 0o600
    assert [entry['run_id'] for entry in entries(str(target))] == ['r0', 'r1']
    assert os.listdir(str(tmp_path / 'links')) == ['x.mat']
    # the lock is the target's
    assert sorted(os.listdir(str(tmp_path / 'store'))) == ['.kept.mat.lock', 'kept.mat']


def test_a_link_to_a_file_that_is_not_there_yet(tmp_path):
    link = tmp_path / 'x.mat'
    link.symlink_to('new.mat')
    append(str(link), 'r0')()
    assert os.readlink(str(link)) == 'new.mat' and len(entries(str(tmp_path / 'new.mat'))) == 1
    other = tmp_path / 'y.mat'
    other.symlink_to(os.path.join('nowhere', 'new.mat'))
    with pytest.raises(UserError, match='y.mat cannot be written: .*No such file or directory'):
        check_writable(str(other))


def test_a_file_that_may_not_be_written_is_left_alone_also_by_the_superuser(tmp_path):
    path = str(tmp_path / 'x.mat')
    append(path, 'r0')()
    os.chmod(path, 0o444)
    with pytest.raises(UserError, match=r'x.mat is write-protected \(mode 444\)'):
        append(path, 'r1')()
    assert len(entries(path)) == 1 and mode(path) == 0o444
