"""Keras 3: one supervised step, RandAugment and geometry in tf.data, and the example's student."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.pictures import pictures
from benchmarks.turns import Turns
from ruggedize.kernels.blocks import available_cores

BATCH_SIZE = 128
ROOM, SIDE = 96, 72  # an image is resized to the first and cut to the second
DIFFERENT = 1_280  # pictures, repeated
SHUFFLED = 10 * BATCH_SIZE
TEMPERATURE = 10.0


def training_step(turns: Turns, *, backend: str, compiled_by_xla: bool = False) -> None:
    """Train ResNet50V2 by `train_on_batch`, which is a compiled step on either backend."""
    keras = imported(backend)
    model = network(keras)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-7),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=compiled_by_xla,
    )
    images = pixels(SIDE, BATCH_SIZE).astype(np.float32)
    labels = np.arange(BATCH_SIZE) % 10
    while True:
        model.train_on_batch(images, labels)
        turns.step_done(BATCH_SIZE)


def randaugment(turns: Turns, *, size: int) -> None:
    """Augment image by image in a map of tf.data, on all cores."""
    augment = augmenter(imported("tensorflow"))
    consume(turns, size, lambda image: augment(image, training=True))


def geometry(turns: Turns) -> None:
    """Flip, resize and cut image by image in a map of tf.data, on all cores."""
    imported("tensorflow")
    consume(turns, 32, clean_view)


def consume(turns: Turns, size: int, view: Callable[[Any], Any]) -> None:
    """Make batches of views without end; a turn lasts until its queues are full again."""
    import tensorflow as tf

    images = tf.data.Dataset.from_tensor_slices(pixels(size, DIFFERENT)).repeat()
    batches = images.map(view, num_parallel_calls=available_cores()).batch(BATCH_SIZE)
    turns.refills_queues = True
    for _ in batches:
        turns.step_done(BATCH_SIZE)


def student_pipeline(turns: Turns, *, with_noise: bool = True) -> None:
    """Train a student as the Keras example does; a turn lasts until its queues are full again.

    Two pipelines, shuffled by one seed and zipped: the same images, flips and crops of their own.
    The example's RandAugment (TensorFlow's model garden) is stood in for by Keras' own layer.
    """
    keras = imported("tensorflow")
    import tensorflow as tf

    augment = augmenter(keras)

    def noisy_view(image: Any) -> Any:
        view = clean_view(image)
        return augment(view, training=True) if with_noise else view

    distiller = consistency_trainer(keras, teacher=network(keras))
    distiller.compile(optimizer=keras.optimizers.Adam(1e-3, epsilon=1e-7), jit_compile=False)
    class_of = np.arange(DIFFERENT) % 10
    images = tf.data.Dataset.from_tensor_slices((pixels(32, DIFFERENT), class_of)).repeat()
    pairs = tf.data.Dataset.zip((batches(images, clean_view), batches(images, noisy_view)))
    after_each_step = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: turns.step_done(BATCH_SIZE)
    )
    turns.refills_queues = True
    distiller.fit(pairs, steps_per_epoch=turns.num_steps, verbose=0, callbacks=[after_each_step])


def batches(images: Any, view: Callable[[Any], Any]) -> Any:
    """Make one of the two pipelines, the order fixed by its seed."""
    import tensorflow as tf

    shuffled = images.shuffle(SHUFFLED, seed=42)
    viewed = shuffled.map(
        lambda image, label: (view(image), label), num_parallel_calls=tf.data.AUTOTUNE
    )
    return viewed.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE)


def clean_view(image: Any) -> Any:
    """Flip, resize and cut: float32 [72, 72, 3], 0..255."""
    import tensorflow as tf

    flipped = tf.image.random_flip_left_right(image)
    return tf.image.random_crop(tf.image.resize(flipped, (ROOM, ROOM)), (SIDE, SIDE, 3))


def consistency_trainer(keras: Any, teacher: Any) -> Any:
    """Make a student whose loss is half cross entropy, half KL to its teacher, both softened."""
    import tensorflow as tf

    class Student(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.network = network(keras)
            self.mean_loss = keras.metrics.Mean(name="loss")
            self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
            self.cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            self.divergence = keras.losses.KLDivergence()

        def call(self, images: Any, training: bool = False) -> Any:
            return self.network(images, training=training)

        def train_step(self, data: Any) -> dict[str, Any]:
            (clean, _), (noisy, labels) = data
            target = tf.nn.softmax(teacher(clean, training=False) / TEMPERATURE)
            with tf.GradientTape() as tape:
                logits = self.network(noisy, training=True)
                softened = tf.nn.softmax(logits / TEMPERATURE)
                loss = self.cross_entropy(labels, logits) + self.divergence(target, softened)
                loss /= 2
            weights = self.network.trainable_variables
            self.optimizer.apply(tape.gradient(loss, weights), weights)
            self.mean_loss.update_state(loss)
            self.accuracy.update_state(labels, logits)
            return {"loss": self.mean_loss.result(), "accuracy": self.accuracy.result()}

    return Student()


def network(keras: Any) -> Any:
    """Build the example's network: Rescaling, ResNet50V2, mean over the pixels, ten logits."""
    inputs = keras.Input((SIDE, SIDE, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    body = keras.applications.ResNet50V2(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3)
    )
    pooled = keras.layers.GlobalAveragePooling2D()(body(scaled))
    return keras.Model(inputs, keras.layers.Dense(10)(pooled))


def augmenter(keras: Any) -> Any:
    """Return Keras' RandAugment: two operations, each of a strength drawn up to nine tenths."""
    return keras.layers.RandAugment(value_range=(0, 255), num_ops=2, factor=0.9)


def imported(backend: str) -> Any:
    """Import Keras on a backend; a process has one."""
    os.environ["KERAS_BACKEND"] = backend
    import keras

    assert keras.backend.backend() == backend
    return keras


def pixels(size: int, num_images: int) -> np.ndarray:
    """Return the pictures as Keras lays them out: uint8 [n, size, size, 3]."""
    return np.ascontiguousarray(pictures(size, num_images).permute(0, 2, 3, 1).numpy())
