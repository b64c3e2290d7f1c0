"""Fine-tuning: initial weights, probe, layer-wise rates, WiSE-FT and choice of the network."""
