#!/usr/bin/env python3
"""Writes small models as TensorFlow Lite has them, and their outputs, for the tests of the importer.

    pip install tensorflow-cpu        # 2.21
    python tests/models/make.py tests/models

Each network becomes a floating point file and, by calibration on random samples, one with integers alone and one of
integers beside FP16. Beside each file, a .json has two inputs, and the outputs that TensorFlow's interpreter gives
for the model with its constants dequantized and all tensors in FP32.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import flatbuffers
import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.lite.python import schema_py_generated as schema

layers = keras.layers
KINDS = ("float", "fp16", "int8")
DEQUANTIZE, QUANTIZE = 6, 114


def cnn():
    """Convolutions, pools and a classifier."""
    return keras.Sequential([
        keras.Input((11, 9, 3)),
        layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, activation="relu6"),
        layers.MaxPooling2D(2, padding="same"),
        layers.AveragePooling2D(2, strides=1, padding="same"),
        layers.Conv2D(8, 2, groups=2),
        layers.Flatten(),
        layers.Dense(6, activation="tanh"),
        layers.Dense(4, activation="softmax"),
    ])


def blocks():
    """Blocks with skips, squeeze and excitation, padding, concatenation and the functions that are no ReLU."""
    x = inputs = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 1, activation="hard_swish")(x)
    y = layers.ZeroPadding2D(((0, 1), (1, 0)))(x)
    y = layers.DepthwiseConv2D(3, strides=2, activation="elu")(y)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(y)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    y = layers.multiply([y, gate])
    z = layers.LeakyReLU(negative_slope=0.1)(y)
    y = layers.add([layers.Conv2D(4, 1, activation="swish")(y), z])
    y = layers.concatenate([y, z, layers.Conv2D(2, 1, activation="gelu")(z)])
    y = layers.PReLU(shared_axes=[1, 2])(y - layers.Conv2D(10, 1)(y))
    y = layers.GlobalMaxPooling2D()(y)
    return keras.Model(inputs, layers.Dense(3)(y))


class DepthToSpace(layers.Layer):
    """Blocks of channels as blocks of pixels."""

    def call(self, x):
        return tf.nn.depth_to_space(x, 2)


def pixels():
    """Transposed convolutions, repeated pixels, slices, splits and shuffled channels."""
    ops = keras.ops
    x = inputs = keras.Input((5, 4, 3), batch_size=1)
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu")(x)
    x = DepthToSpace()(x)
    x = x[:, 1:18:2, 3:, :]
    x = ops.image.resize(x, (18, 26), interpolation="nearest")
    x = layers.Conv2DTranspose(4, (2, 3), strides=(3, 2))(x)
    x = layers.Conv2DTranspose(4, 5, strides=(1, 2), padding="same")(x)
    x = layers.AveragePooling2D(6)(x)
    left, right = ops.split(x, 2, axis=-1)
    x = layers.concatenate([right, left, x])
    _, h, w, c = x.shape
    x = layers.Reshape((h * w, 2, c // 2))(x)
    x = layers.Permute((1, 3, 2))(x)
    x = layers.Reshape((h, w, c))(x)
    return keras.Model(inputs, layers.Conv2D(2, 3)(x))


def series():
    """One-dimensional convolutions over a series."""
    return keras.Sequential([
        keras.Input((16, 3)),
        layers.Conv1D(4, 5, activation="relu"),
        layers.MaxPooling1D(2),
        layers.Conv1D(5, 3, padding="same", strides=2),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.GlobalAveragePooling1D(),
        layers.Dense(3),
    ])


def temporal():
    """Causal and dilated convolutions over a series."""
    x = inputs = keras.Input((24, 3))
    for filters, dilation in ((4, 1), (4, 2), (5, 4)):
        x = layers.Conv1D(filters, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
    x = layers.SeparableConv1D(6, 3, strides=2, padding="same")(x)
    x = layers.Conv1D(4, 3, dilation_rate=2, padding="same", activation="tanh")(x)
    x = layers.AveragePooling1D(3, strides=2, padding="same")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def gray():
    """Images without a dimension for their one channel, which the model rescales."""
    return keras.Sequential([
        keras.Input((7, 7)),
        layers.Rescaling(1 / 32, offset=-0.25),
        layers.Reshape((7, 7, 1)),
        layers.Conv2D(2, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(3),
    ])


def functions():
    """The functions and sums of constants that no layer of Keras has, one after another."""
    ops = keras.ops
    x = inputs = keras.Input((4, 3, 2))
    x = ops.sqrt(ops.abs(x) + 0.5)
    x = ops.log(ops.exp(x * 0.5 - 0.75) + np.float32([1.5, 2.5]))
    x = ops.subtract(np.float32(3), x) / np.float32([2, 4])
    x = ops.clip(ops.relu(x), 0, 1) * ops.tanh(x)
    x = ops.amax(x, axis=(1, 2), keepdims=True) - 0.5
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def randomize(model, random):
    """Gives all that training would have moved from its first value another one."""
    for weights in model.weights:
        if "gamma" in weights.path or "variance" in weights.path:
            weights.assign(random.uniform(0.5, 1.5, weights.shape))
        elif "alpha" in weights.path:
            weights.assign(random.uniform(-0.25, 0.5, weights.shape))
        elif "bias" in weights.path or "beta" in weights.path or "mean" in weights.path:
            weights.assign(random.normal(0, 0.3, weights.shape))


def convert(model, kind, samples):
    """The bytes of the model's file."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def dequantized(tensor, data):
    """A constant's elements as FP32; None where they are no real numbers."""
    kinds = {0: np.float32, 1: np.float16, 2: np.int32, 7: np.int16, 9: np.int8}
    values = np.frombuffer(data, kinds[tensor.type]).reshape(tensor.shape)
    if tensor.type in (0, 1):
        return values.astype(np.float32)
    scales = tensor.quantization.scale if tensor.quantization else None
    if scales is None or len(scales) == 0:
        return None
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[tensor.quantization.quantizedDimension] = -1
    zero_points = np.array(tensor.quantization.zeroPoint).reshape(shape)
    return ((values - zero_points) * np.array(scales).reshape(shape)).astype(np.float32)


def real(data):
    """The model of the file `data` with its constants dequantized and all tensors in FP32."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    graph = model.subgraphs[0]
    for tensor in graph.tensors:
        buffer = model.buffers[tensor.buffer].data
        if buffer is None or len(buffer) == 0:
            if tensor.type == 9:
                tensor.type, tensor.quantization = 0, None
            continue
        values = dequantized(tensor, bytes(bytearray(buffer)))
        if values is not None:
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
            tensor.buffer = len(model.buffers) - 1
            tensor.type, tensor.quantization = 0, None
    same, kept = {}, []
    for operator in graph.operators:
        operator.inputs = np.array([same.get(t, t) for t in operator.inputs], np.int32)
        code = model.operatorCodes[operator.opcodeIndex]
        if max(code.builtinCode, code.deprecatedBuiltinCode) in (DEQUANTIZE, QUANTIZE):
            same[operator.outputs[0]] = operator.inputs[0]
        else:
            kept.append(operator)
    graph.operators = kept
    graph.outputs = np.array([same.get(t, t) for t in graph.outputs], np.int32)
    model.signatureDefs = None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def outputs(data, samples):
    """What the interpreter gives for each of the samples."""
    interpreter = tf.lite.Interpreter(
        model_content=data,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    given = []
    for sample in samples:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[None])
        interpreter.invoke()
        given.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return given


def main(folder):
    for build in (cnn, blocks, functions, pixels, series, temporal, gray):
        keras.utils.set_random_seed(1)
        random = np.random.default_rng(2)
        model = build()
        randomize(model, random)
        samples = random.normal(0, 1, (16, *model.input_shape[1:])).astype(np.float32)
        if build is gray:
            samples = random.integers(0, 32, samples.shape).astype(np.float32)
        for kind in KINDS:
            name = os.path.join(folder, f"{build.__name__}.{kind}")
            data = convert(model, kind, samples)
            with open(name + ".tflite", "wb") as file:
                file.write(data)
            pairs = zip(samples[:2], outputs(real(data), samples[:2]))
            cases = [{"input": x.ravel().tolist(), "output": y.ravel().tolist()} for x, y in pairs]
            with open(name + ".json", "w") as file:
                json.dump(cases, file)
                file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
