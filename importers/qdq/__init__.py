"""Float graphs with quantize and dequantize nodes, as PyTorch and ONNX write quantized models, to circuits."""
