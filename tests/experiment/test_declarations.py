"""What is declared once - options, tables - and what follows from it; runs over every declared option of
every model."""
import json
from collections import OrderedDict

import pytest

from classification import gen_data
from classification.experiment.describe import listing
from classification.experiment.experiment import Experiment
from classification.experiment.flags import own_flags
from classification.experiment.mat_info import info
from classification.model.declare import METHODS, NOT_OPTIONS, check_options
from classification.model.registry import MECHANISMS, MODELS, all_options
from classification.results.mat_file import encoded
from tests.support.commands import DIGITS, experiment_of, is_refused, run_and_listen
from utils.declarations import (
    Check,
    Context,
    Option,
    Table,
    checked,
    number,
    numbers,
    one_of,
    or_none,
    read_setting,
    resolved,
    stored_fields,
    text,
    whole,
    yes_or_no,
)
from utils.utils import UserError

WORDS = ('true', 'false', '0.5', '1', '2', '3', '0.25,0.5', '0.1,0.2,0.3,0.4', '1,3', 'top2', 'none')
PAIRS = [(part.key, option) for part in list(METHODS.values()) + list(MECHANISMS.values())
         for option in part.options]
SETTINGS = [(name, option) for name, model in MODELS.items() for option in model.options]


def ids(pairs):
    return ['%s-%s' % (name, option.name) for name, option in pairs]


def asked(model_type, *more):
    return experiment_of('--model_type', model_type, '--test_type', '1', *more)


def words_of(value):
    """How a person writes a value."""
    return 'none' if value is None else ','.join(map(repr, value)) if isinstance(value, tuple) else str(value)


def mode_for(model, option):
    """The --set words with which an option exists."""
    options = {other.name: other.fixed_default for other in model.options}
    if option.when(options):
        return []
    return next(['--set', '%s=%s' % (mode.name, choice)] for mode in model.options
                for choice in mode.check.choices or ()
                if mode is not option and option.when(dict(options, **{mode.name: choice})))


def other_words(model_type, option, mode):
    """(text of a possible value that is not the one by default, experiment with it)."""
    default = asked(model_type, *mode)
    for words in tuple(map(str, option.check.choices or ())) + WORDS:
        try:
            found = asked(model_type, *(mode + ['--set', '%s=%s' % (option.name, words)]))
        except UserError:
            continue
        if option.name not in default.options or found.options[option.name] != default.options[option.name]:
            return words, found
    raise AssertionError('WORDS has no value for it')


# ---- every declared option ----

@pytest.mark.parametrize('name, option', SETTINGS, ids=ids(SETTINGS))
def test_what_is_set_arrives_and_makes_another_experiment_that_says_so(name, option):
    mode = mode_for(MODELS[name], option)
    default, (words, found) = asked(name, *mode), other_words(name, option, mode)
    value = option.check.read(words)
    if option.stored is True:
        assert option.name in info(default)
    changed = {key for key in found.options if found.options[key] != default.options.get(key)}
    assert option.name in changed
    if found.options[option.name] == value:                 # what it means is no question of other settings
        assert checked(option, value, '') == value
    assert found.fingerprint() != default.fingerprint()
    assert Experiment.from_json(found.to_json()) == found
    fields, before = info(found), info(default)
    assert {field for field in fields if fields[field] != before.get(field)} or callable(
        option.stored), 'not in the .mat'
    if not callable(option.stored):
        assert fields[option.name] == (list(value) if isinstance(value, tuple) else 'none' if value is None
                                       else found.options[option.name])
    assert encoded(OrderedDict(model_specific_info=fields))


@pytest.mark.parametrize('name, option', SETTINGS, ids=ids(SETTINGS))
def test_to_set_the_default_changes_nothing(name, option):
    mode = mode_for(MODELS[name], option)
    default = asked(name, *mode)
    value = default.options.get(option.name, option.fixed_default)
    if not option.check.fits(option.check.read(words_of(value))):
        pytest.fail('the default is not possible')
    assert asked(name, *(mode + ['--set', '%s=%s' % (option.name, words_of(value))])) == default


@pytest.mark.parametrize('key, option', PAIRS, ids=ids(PAIRS))
def test_what_the_list_shows_as_the_default_can_be_set(key, option):
    row, = {line for line in listing().splitlines() if line.split()[:1] == [option.name]
            and line.endswith(option.help)}
    shown = row[:-len(option.help)].split()[-1]
    if callable(option.default):
        assert shown == 'table'
    else:
        assert checked(option, option.check.read(shown), '') == option.default
        assert option.check.read(words_of(option.default)) == option.default


@pytest.mark.parametrize('key, option', PAIRS, ids=ids(PAIRS))
def test_a_value_that_is_none_is_one_line(key, option, folder):
    model = next(name for name, model in MODELS.items() if option in model.options)
    options = DIGITS + ['--model_type', model, '--test_type', '1'] + mode_for(MODELS[model], option)
    is_refused(options + ['--set', '%s=?' % option.name], '?')
    assert not list(folder.iterdir())


@pytest.mark.parametrize('key, option', [pair for pair in PAIRS if pair[1].flag],
                         ids=lambda value: getattr(value, 'flag', ''))
def test_a_flag_is_the_same_as_to_set_and_not_possible_with_it(key, option):
    model = next(name for name, model in MODELS.items() if option in model.options)
    words, found = other_words(model, option, [])
    flag = ['--' + option.flag] + [words] * (not isinstance(option.default, bool))
    assert asked(model, *flag) == found
    with pytest.raises(UserError, match='is already said by --%s' % option.flag):
        asked(model, *(flag + ['--set', '%s=%s' % (option.name, words)]))
    other = 'STL' if model != 'STL' else 'SNN'
    status, said, _ = run_and_listen(DIGITS + ['--model_type', other, '--test_type', '0', '--dry_run'] + flag)
    assert status == 0 and '--%s is ignored: %s does not use it' % (option.flag, other) in said
    is_refused(DIGITS + ['--model_type', other, '--set', '%s=%s' % (option.name, words)],
               'there is no option %s here' % option.name)


@pytest.mark.parametrize('key, option', PAIRS, ids=ids(PAIRS))
def test_a_later_option_at_its_default_is_no_part_of_the_fingerprint(key, option):
    model = next(name for name, model in MODELS.items() if option in model.options)
    mode = mode_for(MODELS[model], option)
    held = json.loads(asked(model, *mode).to_json())['options']
    assert (option.name in held) == (not option.later)


def test_options_with_flags_are_those_of_the_table():
    assert set(all_options()) == {option.flag for _, option in PAIRS if option.flag}
    assert not own_flags() & set(all_options())


# ---- --set ----

@pytest.mark.parametrize('model, words, says', [
    ('EWC', 'ewc_gama=0.5', 'did you mean ewc_gamma or ewc_mode?'),
    ('EWC', 'ewc_gamma', 'NAME=VALUE is needed'),
    ('EWC', 'ewc_gamma=2', 'between 0 and 1'),
    ('EWC', 'ewc_gamma=nan', 'between 0 and 1'),
    ('EWC', 'ewc_fisher_samples=%d' % 2 ** 63, 'at least 1'),
    ('DEN', 'den_stage_fractions=1,0,0,-inf', '4 numbers'),
    ('DEN', 'den_stage_fractions=1,0', '4 numbers'),
    ('STL', 'ewc_gamma=1', 'there are none'),
    ('APD', 'apd_tau_start=zeros', 'no option apd_tau_start with these settings'),
    ('LASEMG_HPS', 'groups=9', 'groups'),
])
def test_what_cannot_be_set(model, words, says, folder):
    is_refused(DIGITS + ['--model_type', model, '--test_type', '0', '--set', words], says)
    assert not list(folder.iterdir())


def test_to_set_an_option_twice_is_an_error():
    with pytest.raises(UserError, match='already said; leave one'):
        asked('EWC', '--set', 'ewc_gamma=1', '--set', 'ewc_gamma=0.5')


def test_spaces_around_a_setting_do_not_matter():
    assert asked('EWC', '--set', ' ewc_gamma = 0.5 ') == asked('EWC', '--set', 'ewc_gamma=0.5')


def test_options_of_a_data_set_stand_beside_those_of_the_method(monkeypatch):
    own = gen_data.DATASETS['DIGITS5']._replace(options=(
        Option('shade', 0.5, number(0, 1), 'Digits: shade'),
        Option('turned', False, yes_or_no(), 'Digits: turned')))
    monkeypatch.setitem(gen_data.DATASETS, 'DIGITS5', own)
    monkeypatch.setattr(own.source, 'options', {}, raising=False)
    default, other = asked('EWC'), asked('EWC', '--set', 'shade=0.25', '--set', 'ewc_gamma=0.5')
    assert default.data_options == {'shade': 0.5, 'turned': False} and 'shade' not in default.options
    assert other.data_options == {'shade': 0.25, 'turned': False} and other.options['ewc_gamma'] == 0.5
    assert own.source.options == other.data_options and default.fingerprint() != other.fingerprint()
    assert info(other)['shade'] == 0.25 and 'shade' not in info(default)
    assert Experiment.from_json(other.to_json()) == other
    with pytest.raises(UserError, match='did you mean shade'):
        asked('STL', '--set', 'shad=0.25')


# ---- checks ----

@pytest.mark.parametrize('check, yes, no', [
    (number(), ['-1e3', '0'], ['inf', 'nan', '-inf', 'x', '']),
    (number(0, 1), ['0', '1'], ['-0.1', '1.1', 'nan']),
    (whole(1), ['1', '9'], ['0', '1.5', '', '9' * 30]),
    (whole(), ['-3'], ['x', '-' + '9' * 30]),
    (numbers(2), ['1,-2', '0.5, 3'], ['1', '1,2,3', '1,x', '-inf,1', 'inf,1', 'nan,1']),
    (one_of('a', 'b'), ['a'], ['c', '']),
    (one_of(1, 2), ['2'], ['3', 'x']),
    (yes_or_no(), ['True', 'no', '1'], ['2', 'maybe', '']),
    (or_none(whole(1)), ['none', 'None', '4'], ['0', 'nothing']),
    (text(), ['what', ''], [])])
def test_what_a_check_lets_through(check, yes, no):
    option = Option('name', None, check, 'help')
    for words in yes:
        assert read_setting('name=' + words, [option])[0] == 'name'
    for words in no:
        with pytest.raises(UserError, match='name.*is needed'):
            read_setting('name=' + words, [option])


def context(**given):
    return Context('M', 'D', 'd', 2, None, None, given=given)


def test_a_default_may_depend_on_options_before_it_and_then_stands_in_the_result():
    options = (Option('a', 2, whole(), 'help'), Option('b', lambda at: 2 * at.options['a'], whole(), 'help'))
    values = resolved(options, context(a=3))
    assert values == {'a': 3, 'b': 6} and stored_fields(options, values) == {'a': 3, 'b': 6}
    assert stored_fields(options, resolved(options, context(b=9))) == {'b': 9}


# ---- declarations that are refused ----

OPTION = Option('strength', 1., number(0), 'M: strength', flag='strength')


@pytest.mark.parametrize('change, says', [
    (dict(help=''), 'help needs one line'), (dict(help='a\nb'), 'help needs one line'),
    (dict(help=None), 'help needs one line'),
    (dict(name='two words'), 'letters, digits'), (dict(name='pattern'), 'has this name'),
    (dict(flag='em_maxP'), 'exists already'),
    (dict(flag='a-b'), 'letters, digits'), (dict(check=float), 'needs a check')])
def test_an_option_that_cannot_be(change, says):
    check_options('M', (OPTION,))
    with pytest.raises(UserError, match=says):
        check_options('M', (OPTION._replace(**change),))


def test_two_options_of_one_name_are_an_error():
    with pytest.raises(UserError, match='two options are called strength'):
        check_options('M', (OPTION, OPTION._replace(flag=None)))


def test_no_option_takes_the_name_of_another_field():
    fields = set(info(asked('HPS'))) | set(info(asked('STL', '--stl_analysis', '--stl_task_to_learn', '1',
                                                      '--mutual_info')))
    assert fields <= set(NOT_OPTIONS) and not {option.name for _, option in PAIRS} & set(NOT_OPTIONS)


def test_a_name_or_alias_names_one_row_whatever_its_case():
    row = OrderedDict(MODELS)['STL']
    table = Table('model')
    table.add('First', row._replace(aliases=('Other',)))
    for name, aliases in (('first', ()), ('OTHER', ()), ('Second', ('other',))):
        with pytest.raises(UserError, match='exists already'):
            table.add(name, row._replace(aliases=aliases))
    for name in ('', '_x', 'a b', '2a', 'ä', 'a/b', None):
        with pytest.raises(UserError, match='letters, digits'):
            table.add(name, row._replace(aliases=()))
    assert list(table) == ['First'] and isinstance(OPTION.check, Check)


def test_an_option_of_the_data_set_cannot_have_the_name_of_one_of_the_model(monkeypatch):
    option = Option('em_cnt_prior', False, yes_or_no(), 'the same name')
    monkeypatch.setitem(gen_data.DATASETS, 'DIGITS5',
                        gen_data.DATASETS['DIGITS5']._replace(options=(option,)))
    with pytest.raises(UserError, match='LASEM_HPS on DIGITS5: two options are called em_cnt_prior'):
        experiment_of('--model_type', 'LASEM_HPS', '--test_type', '0')
