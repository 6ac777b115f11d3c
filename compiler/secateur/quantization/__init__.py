"""int8: shared weights quantized once, and what each rung needs of its own."""

from secateur.quantization.activations import parameters, weight_scales
from secateur.quantization.calibrators import CALIBRATORS, calibrate
from secateur.quantization.equalisation import Equalisation, equalise
from secateur.quantization.histogram import Histogram, observe
from secateur.quantization.ranges import Ranges, measure_ranges
from secateur.quantization.simulation import dequantized, rounding
from secateur.quantization.weights import quantize_weights

__all__ = [
    "CALIBRATORS",
    "Equalisation",
    "Histogram",
    "Ranges",
    "calibrate",
    "dequantized",
    "equalise",
    "measure_ranges",
    "observe",
    "parameters",
    "quantize_weights",
    "rounding",
    "weight_scales",
]
