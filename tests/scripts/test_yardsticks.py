"""The bare operations of a network: none forgotten, none added, their number of operations counted by
hand."""
import numpy as np
import pytest

from scripts.yardsticks import Bare, bare_operations
from tests.support.tiny import BATCH, Rig, make_method

# NET: 8x8x3 -> 4 (8x8), 5 (8x8, pooled to 4x4), 6 (4x4) channels, 96 features -> 7 -> 3 classes
CONVOLUTIONS = [8 * 8 * 9 * 3 * 4, 8 * 8 * 9 * 4 * 5, 4 * 4 * 9 * 5 * 6]
PRODUCTS = [96 * 7, 7 * 3]


@pytest.fixture(scope='module')
def rig():
    with Rig(make_method('hybrid', pattern='SSS'), {}, 0, [0]) as opened:
        yield opened


def test_training(rig):
    operations = bare_operations([rig.method.update])
    kinds = [op.type for op in operations]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        # images need no gradient
        'Conv2D': 3, 'Conv2DBackpropFilter': 3, 'Conv2DBackpropInput': 2, 'MatMul': 6}
    bare = Bare(operations, BATCH, 1)
    once = sum(CONVOLUTIONS) + sum(PRODUCTS)
    assert bare.flops == 2 * BATCH * (3 * once - CONVOLUTIONS[0])
    assert bare.operations == 14 and np.isfinite(bare.run()) and bare.run() != 0


def test_evaluation_takes_the_batch_it_is_given(rig):
    bare = Bare(bare_operations([rig.logits_of[0]]), 50, 1)
    assert bare.operations == 5 and bare.flops == 2 * 50 * (sum(CONVOLUTIONS) + sum(PRODUCTS))
    assert np.isfinite(bare.run()) and bare.run() != 0


def test_what_is_given_is_not_computed(rig):
    """The maps behind the second layer are known: the third and the head remain."""
    logits = rig.logits_of[0]
    last = [op for op in bare_operations([logits]) if op.type == 'Conv2D'][-1]
    bare = Bare(bare_operations([logits], last.inputs[:1]), 50, 1)
    assert bare.operations == 3 and bare.flops == 2 * 50 * (CONVOLUTIONS[2] + sum(PRODUCTS))


@pytest.mark.parametrize('selection, mechanism, options', [
    ('hybrid', 'dfcnn', dict(pattern='SSS', regularization_scale=(1e-7, 1e-7))),
    ('hybrid', 'tf', dict(pattern='SSS', auxiliary_loss_weight=0.1)),
    ('lasem', 'hps', dict(em_cnt_prior=False, em_prior_init_cnt=1., reset_prior=False))])
def test_every_operation_can_stand_alone(selection, mechanism, options):
    with Rig(make_method(selection, mechanism, **options), {}, 0, [0]) as opened:
        bare = Bare(bare_operations([opened.method.update]), BATCH, 1)
    assert np.isfinite(bare.run()) and bare.operations > 14
