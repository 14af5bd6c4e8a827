"""A selection: a layer is shared where more of its shared kernel would lower the loss on validation images.

    python3 main.py --plugin examples/gated_search.py --data_type DIGITS5 --model_type Gated_HPS --lifelong
"""
from classification.plugin import Option, PatternSearch, nn, number, selection, tf


@selection('Gated', 'a layer is shared where validation data ask for it', options=(
    Option('share', 0.5, number(0, 1), 'Gated: share of the shared kernel while learning', flag='share'),))
class Gated(PatternSearch):
    """A layer's output is share * shared + (1 - share) * own. The slope of the validation loss along `share`,
    summed over the steps of a task, is the score that decides."""
    validation_batches = True

    def build_search(self, parameters, task, batch):
        layers, share = len(self.net.layers), self.setting.options['share']
        gates = [tf.constant(share, parameters.dtype) for _ in range(layers)]
        score = tf.Variable(tf.zeros([layers], parameters.dtype), trainable=False, name='gated/score')
        self.shared_now = score <= 0
        self.loss = self.mixed_loss(parameters, task, batch, gates)
        for layer in range(layers):
            self.loss += self.extra_losses(parameters, layer, task, share, share / layers)
        slopes = tf.gradients(self.mixed_loss(parameters, task, batch.selection, gates), gates)
        with tf.control_dependencies([score.assign_add(tf.stack(slopes))]):
            self.update = nn.minimize(self.loss, parameters.trained, batch.learning_rate)

    def mixed_loss(self, parameters, task, batch, gates):
        """Cross-entropy of the mixture on a batch."""
        layers = [self.mixture(gate, *[
            nn.activation(self.layer_weights(parameters, layer, task, shared), self.net.padding)
            for shared in (True, False)]) for layer, gate in enumerate(gates)]
        features = nn.convolutional_part(self.net, batch.images, [[layers]])
        features = nn.dropout(features, self.setting.keep, batch.seed)
        return tf.reduce_mean(nn.cross_entropy(self.head(parameters, task, features), batch.labels))

    @staticmethod
    def mixture(gate, shared, own):
        """The function of a layer."""
        return lambda x: gate * shared(x) + (1. - gate) * own(x)
