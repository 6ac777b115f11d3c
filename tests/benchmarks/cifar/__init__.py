"""Comparisons on CIFAR-10 with a trained ResNet-20; they need the folder that ``SECATEUR_BENCH_DATA`` names."""
