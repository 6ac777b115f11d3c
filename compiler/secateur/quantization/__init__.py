"""int8: shared weights quantized once, and what each rung needs of its own."""

from secateur.quantization.activations import Ranges, measure_ranges, parameters, weight_scales
from secateur.quantization.weights import quantize_weights

__all__ = ["Ranges", "measure_ranges", "parameters", "quantize_weights", "weight_scales"]
