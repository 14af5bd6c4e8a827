"""Addresses may carry a user and a password, which are neither shown nor stored."""
import contextlib
import io
import os
import subprocess

import pytest

import main
from classification import download as download_command
from classification import train_wrapper
from classification.data import download
from classification.report import command as report
from classification.runs import supervisor
from classification.runs.local_pool import LocalPool
from tests.support import result_files
from tests.support.commands import SHORT, run, run_and_listen
from utils.utils import read_dict, without_credentials

ROOT = os.path.dirname(os.path.abspath(main.__file__))
SECRET = 'u5er:pa55w0rd'


def report_of(options):
    """(status, stdout, stderr) of utils.report."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = report.main(options)
    return status, out.getvalue(), err.getvalue()


@pytest.mark.parametrize('text, shown', [
    ('tcp://%s@host:8786' % SECRET, 'tcp://host:8786'), ('https://u:p%%40@h/a@b', 'https://h/a@b'),
    ('https://u:p@q@h/x and ftp://v@i', 'https://h/x and ftp://i'),
    ('a@b.c, https://h?q=a@b', 'a@b.c, https://h?q=a@b')])
def test_addresses_are_shown_without_passwords(text, shown):
    assert without_credentials(text) == shown


def test_an_address_without_protocol_is_shown_without_password():
    address = SECRET + '@host:8786'
    assert without_credentials('no answer of %s' % address, address) == 'no answer of host:8786'


def everything_below(folder):
    return b''.join(path.read_bytes() for path in folder.rglob('*') if path.is_file())


@pytest.mark.parametrize('address', ['tcp://%s@127.0.0.1:9', '%s@127.0.0.1:9'])
def test_a_scheduler_is_named_without_its_password(address, folder):
    pytest.importorskip('distributed')
    address = address % SECRET
    for more in ([], ['--jobs', '2']):
        status, out, err = run_and_listen(SHORT + ['--scheduler', address] + more)
        assert status == 2 and '127.0.0.1:9: ' in err and 'pa55' not in out + err and 'u5er' not in out + err


def test_a_scheduler_is_recorded_without_its_password(folder, monkeypatch):
    class Stopped(Exception):
        """The experiment is recorded."""

    def stop(self, missing):
        raise Stopped()

    monkeypatch.setattr(supervisor, 'choose_pool', lambda flags, trials,
                        say: LocalPool(main.__file__, ['-1']))
    monkeypatch.setattr(train_wrapper.Run, 'announce', stop)
    for address in ('tcp://%s@host:1', '%s@host:1'):
        with pytest.raises(Stopped):
            run_and_listen(SHORT + ['--scheduler', address % SECRET])
        config = read_dict(str(next(folder.rglob('config.json'))))
        assert config['settings']['scheduler'] == (address % SECRET).replace(SECRET + '@', '')
        assert 'host:1' in config['command'] and b'pa55' not in everything_below(folder)


def test_a_mirror_is_named_without_its_password(tmp_path, monkeypatch, capsys):
    row, = download.REMOTES['cifar100']
    monkeypatch.setitem(download.REMOTES, 'cifar100',
                        (row._replace(urls=('http://%s@127.0.0.1:9/x' % SECRET,)),))
    for mirror in ('http://%s@127.0.0.1:9' % SECRET, 'ftp://%s@elsewhere' % SECRET, '%s@elsewhere' % SECRET):
        monkeypatch.setenv(download.MIRRORS, mirror)
        for call in (lambda: download_command.main(['cifar100', '--data_dir', str(tmp_path)]),
                     lambda: run(['--data_type', 'CIFAR100_10', '--lifelong', '--download', '--dry_run',
                                  '--data_dir', str(tmp_path)])):
            call()
            said = ''.join(capsys.readouterr())
            assert ('127.0.0.1:9/cifar-100' in said
                    or 'elsewhere is no base URL' in said) and 'pa55' not in said


def test_scripts_print_commands_without_passwords(tmp_path):
    child = subprocess.Popen(['bash', os.path.join(ROOT, 'scripts', 'table_cifar100.sh'), '--scheduler',
                              'tcp://%s@host:1' % SECRET],
                             stdout=subprocess.PIPE, env=dict(os.environ, LIST='1'))
    out = child.communicate()[0].decode('utf-8')
    assert child.returncode == 0 and out.count('--scheduler tcp://host:1') == 42 and 'pa55' not in out


def test_reports_show_commands_of_before_without_passwords(folder):
    path = result_files.write('results.mat', 'STL', [result_files.drawn('STL')],
                              command='main.py --scheduler tcp://%s@h:1' % SECRET)
    status, out, err = report_of([path, '--format', 'html', '--out', 'page'])
    assert (status, err) == (0, '')
    page = (folder / 'page' / 'report.html').read_text(encoding='utf-8')
    assert 'main.py --scheduler tcp://h:1' in page and 'pa55' not in page
