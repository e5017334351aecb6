"""The numbers of TensorFlow Lite's schema version 3 that the importer needs: enumerations and field slots.

Source: ``schema.fbs`` of TensorFlow Lite / LiteRT. The tests compare every number with the ``tflite`` package, which is
generated from that file.
"""

from __future__ import annotations

from enum import IntEnum

SCHEMA_VERSION = 3
IDENTIFIER = b"TFL3"

#: BuiltinOperator, by number
OPERATORS: tuple[str, ...] = tuple((
    "ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR "
    "FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC "
    "LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH "
    "SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER "
    "BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE "
    "BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM "
    "ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE "
    "TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK "
    "LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL "
    "FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL "
    "REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND "
    "HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM "
    "BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS "
    "HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE "
    "ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU "
    "DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 "
    "UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE "
    "STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE "
    "STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE "
    "STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG "
    "STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT "
    "STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT "
    "STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL "
    "STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE "
    "STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT"
).split())
CUSTOM = OPERATORS.index("CUSTOM")

#: TensorType, by number
TENSOR_TYPES: tuple[str, ...] = (
    "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
    "complex128", "uint64", "resource", "variant", "uint32", "uint16", "int4", "bfloat16",
)

#: ActivationFunctionType, by number
ACTIVATIONS: tuple[str, ...] = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

#: Padding, by number
PADDINGS: tuple[str, ...] = ("SAME", "VALID")


class Options(IntEnum):
    """BuiltinOptions: which table an operator's options are."""

    Conv2DOptions = 1
    DepthwiseConv2DOptions = 2
    Pool2DOptions = 5
    FullyConnectedOptions = 8
    SoftmaxOptions = 9
    ConcatenationOptions = 10
    AddOptions = 11
    ResizeBilinearOptions = 15
    ReshapeOptions = 17
    SpaceToDepthOptions = 19
    MulOptions = 21
    ReducerOptions = 27
    SubOptions = 28
    SqueezeOptions = 30
    StridedSliceOptions = 32
    SplitOptions = 35
    TransposeConvOptions = 49
    PackOptions = 59
    UnpackOptions = 64
    ResizeNearestNeighborOptions = 74
    LeakyReluOptions = 75
    MirrorPadOptions = 77
    SplitVOptions = 79
    DepthToSpaceOptions = 94
    BatchMatMulOptions = 101


class Model(IntEnum):
    """Slots of Model."""

    Version = 0
    OperatorCodes = 1
    Subgraphs = 2
    Buffers = 4


class OperatorCode(IntEnum):
    """Slots of OperatorCode."""

    DeprecatedBuiltinCode = 0
    CustomCode = 1
    Version = 2
    BuiltinCode = 3


class SubGraph(IntEnum):
    """Slots of SubGraph."""

    Tensors = 0
    Inputs = 1
    Outputs = 2
    Operators = 3


class Tensor(IntEnum):
    """Slots of Tensor."""

    Shape = 0
    Type = 1
    Buffer = 2
    Name = 3
    Quantization = 4
    IsVariable = 5
    Sparsity = 6
    VariantTensors = 9


#: Slot of Tensor that newer schemas use for weights outside the file.
TENSOR_EXTERNAL_BUFFER = 10


class QuantizationParameters(IntEnum):
    """Slots of QuantizationParameters."""

    Scale = 2
    ZeroPoint = 3
    DetailsType = 4
    QuantizedDimension = 6


class Buffer(IntEnum):
    """Slots of Buffer."""

    Data = 0
    Offset = 1
    Size = 2


class Operator(IntEnum):
    """Slots of Operator."""

    OpcodeIndex = 0
    Inputs = 1
    Outputs = 2
    BuiltinOptionsType = 3
    BuiltinOptions = 4
    MutatingVariableInputs = 7
    Intermediates = 8


class Conv2DOptions(IntEnum):
    """Slots of Conv2DOptions."""

    Padding = 0
    StrideW = 1
    StrideH = 2
    FusedActivationFunction = 3
    DilationWFactor = 4
    DilationHFactor = 5


class DepthwiseConv2DOptions(IntEnum):
    """Slots of DepthwiseConv2DOptions."""

    Padding = 0
    StrideW = 1
    StrideH = 2
    FusedActivationFunction = 4
    DilationWFactor = 5
    DilationHFactor = 6


class TransposeConvOptions(IntEnum):
    """Slots of TransposeConvOptions."""

    Padding = 0
    StrideW = 1
    StrideH = 2
    FusedActivationFunction = 3


class Pool2DOptions(IntEnum):
    """Slots of Pool2DOptions."""

    Padding = 0
    StrideW = 1
    StrideH = 2
    FilterWidth = 3
    FilterHeight = 4
    FusedActivationFunction = 5


class FullyConnectedOptions(IntEnum):
    """Slots of FullyConnectedOptions."""

    FusedActivationFunction = 0
    WeightsFormat = 1
    KeepNumDims = 2


class ConcatenationOptions(IntEnum):
    """Slots of ConcatenationOptions."""

    Axis = 0
    FusedActivationFunction = 1


class AddOptions(IntEnum):
    """Slots of AddOptions."""

    FusedActivationFunction = 0


class SubOptions(IntEnum):
    """Slots of SubOptions."""

    FusedActivationFunction = 0


class MulOptions(IntEnum):
    """Slots of MulOptions."""

    FusedActivationFunction = 0


class BatchMatMulOptions(IntEnum):
    """Slots of BatchMatMulOptions."""

    AdjX = 0
    AdjY = 1


class SoftmaxOptions(IntEnum):
    """Slots of SoftmaxOptions."""

    Beta = 0


class ReshapeOptions(IntEnum):
    """Slots of ReshapeOptions."""

    NewShape = 0


class ReducerOptions(IntEnum):
    """Slots of ReducerOptions."""

    KeepDims = 0


class SqueezeOptions(IntEnum):
    """Slots of SqueezeOptions."""

    SqueezeDims = 0


class StridedSliceOptions(IntEnum):
    """Slots of StridedSliceOptions."""

    BeginMask = 0
    EndMask = 1
    EllipsisMask = 2
    NewAxisMask = 3
    ShrinkAxisMask = 4
    Offset = 5


class SplitOptions(IntEnum):
    """Slots of SplitOptions."""

    NumSplits = 0


class SplitVOptions(IntEnum):
    """Slots of SplitVOptions."""

    NumSplits = 0


class PackOptions(IntEnum):
    """Slots of PackOptions."""

    ValuesCount = 0
    Axis = 1


class UnpackOptions(IntEnum):
    """Slots of UnpackOptions."""

    Num = 0
    Axis = 1


class ResizeNearestNeighborOptions(IntEnum):
    """Slots of ResizeNearestNeighborOptions."""

    AlignCorners = 0
    HalfPixelCenters = 1


class ResizeBilinearOptions(IntEnum):
    """Slots of ResizeBilinearOptions: the first two are of old files, which nothing reads."""

    AlignCorners = 2
    HalfPixelCenters = 3


class LeakyReluOptions(IntEnum):
    """Slots of LeakyReluOptions."""

    Alpha = 0


class SpaceToDepthOptions(IntEnum):
    """Slots of SpaceToDepthOptions."""

    BlockSize = 0


class DepthToSpaceOptions(IntEnum):
    """Slots of DepthToSpaceOptions."""

    BlockSize = 0


class MirrorPadOptions(IntEnum):
    """Slots of MirrorPadOptions. Its mode is 0 (reflect) or 1 (symmetric)."""

    Mode = 0
