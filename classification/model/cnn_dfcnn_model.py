"""DF-CNN with a fixed transfer pattern (Lee, Stokes & Eaton, IJCAI 2019)."""
from classification.model.cnn_baseline_model import FixedPattern
from classification.model.declare import method


@method('Hybrid_DFCNN', 'DF-CNN with the chosen layers', key='hybrid_dfcnn', mechanism='dfcnn',
        architecture='hybrid_dfcnn',
        aliases=('DFCNN',), paper='Lee, Stokes & Eaton, IJCAI 2019', pattern='asked', joint=True)
class LL_hybrid_DFCNN_minibatch(FixedPattern):
    """Hybrid_DFCNN: the layers of the pattern are made from a shared knowledge base, the others are
    task-specific.

    The mechanism is `mechanisms.Deconvolution`; everything else is a fixed pattern like any other.
    """
