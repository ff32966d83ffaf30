"""Proxies of architectures: scores of untrained small networks, and how well they rank trained ones."""
