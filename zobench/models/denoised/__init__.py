"""The built-in classifiers with a denoiser in front: network, training and acceptance gates."""
