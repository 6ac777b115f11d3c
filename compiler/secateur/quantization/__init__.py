"""int8: shared weights quantized once, and what each rung needs of its own."""

from secateur.quantization.activations import ActivationParameters, Ranges, measure_ranges, parameters
from secateur.quantization.weights import QuantizedWeight, quantize_weights, rung_weight_scale

__all__ = [
    "ActivationParameters",
    "QuantizedWeight",
    "Ranges",
    "measure_ranges",
    "parameters",
    "quantize_weights",
    "rung_weight_scale",
]
