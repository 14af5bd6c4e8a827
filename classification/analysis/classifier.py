"""A learned task's network as a classifier: images as files hold them in, probabilities of the classes out;
also as a TensorFlow SavedModel."""
import numpy as np

from classification.analysis.learned_network import LearnedNetwork
from utils.lazy_tensorflow import tf

WHITE = 255         # in a file


class Classifier(LearnedNetwork):
    """A graph and session that classify uint8 images [n, height, width, channels].

    Args:
        method: a Method that has learned the task.
        store: its parameter store, dict name -> array.
        task: index of the task.
        images: what is done to the task's images: dict of `swap` (channels in another order, or None),
            `scale` and `offset`, one for each channel.
        largest: value of a pixel that WHITE in a file means.
        config: tf.ConfigProto.
    """

    def __init__(self, method, store, task, images, largest, config):
        def build(parameters):
            pixels = tf.placeholder(tf.uint8, (None,) + method.net.image_shape, 'images')
            values = tf.cast(pixels, tf.float32)
            if largest != WHITE:
                values = tf.floor(values * (float(largest) / WHITE) + 0.5)
            if images['swap'] is not None:
                values = tf.gather(values, images['swap'], axis=3)
            scale, offset = [np.array(images[name], np.float32) for name in ('scale', 'offset')]
            logits = method.logits(parameters, task, values * scale + offset)
            outputs = {'probabilities': tf.nn.softmax(logits),
                       'class': tf.argmax(logits, axis=1, output_type=tf.int32)}
            return {'images': pixels}, outputs, tf.train.Saver()
        super(Classifier, self).__init__(method, store, build, config)

    def __call__(self, images):
        """dict: `probabilities` [n, classes] and `class` [n], the number of the most probable one."""
        inputs, outputs, _ = self.wanted
        return self.session.run(outputs, {inputs['images']: images})

    def export(self, folder):
        """Writes a SavedModel into a new folder."""
        inputs, outputs, saver = self.wanted
        inputs, outputs = [{name: tf.saved_model.build_tensor_info(tensor) for name, tensor in some.items()}
                           for some in (inputs, outputs)]
        names = tf.saved_model.signature_constants
        signature = tf.saved_model.build_signature_def(inputs, outputs, names.PREDICT_METHOD_NAME)
        builder = tf.saved_model.Builder(folder)
        with self.session.graph.as_default():
            builder.add_meta_graph_and_variables(
                self.session, [tf.saved_model.tag_constants.SERVING],
                {names.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature}, saver=saver)
        builder.save()
