"""Similarity of two grey images with values in [0, 1].

psnr = -10 log10 MSE, in decibels; infinite for equal images. Its average over images is not that of the mean
MSE: averages are taken per image.

ssim (Z. Wang, A. Bovik, H. Sheikh, E. Simoncelli, IEEE Transactions on Image Processing 13, 2004): the mean
over all windows of 11 by 11 pixels that lie within the image of

    (2 m_a m_b + C1) (2 s_ab + C2) / ((m_a^2 + m_b^2 + C1) (s_a^2 + s_b^2 + C2)),

means, variances and covariance weighted by a Gaussian of standard deviation 1.5, C1 = 0.01^2, C2 = 0.03^2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def rmse(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Root of the mean squared difference of the pixels."""
    return math.sqrt(float(np.mean((_pair(a, b)[0] - _pair(a, b)[1]) ** 2)))


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Peak signal-to-noise ratio in decibels."""
    error = rmse(a, b)
    return math.inf if error == 0 else -20 * math.log10(error)


def ssim(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Structural similarity, 1 for equal images. ``ValueError`` for images smaller than the window."""
    x, y = _pair(a, b)
    if min(x.shape) < WINDOW:
        raise ValueError(f"ssim needs images of at least {WINDOW} by {WINDOW} pixels, not {x.shape}")
    mx, my = _mean(x), _mean(y)
    vx, vy, cov = _mean(x * x) - mx**2, _mean(y * y) - my**2, _mean(x * y) - mx * my
    found = (2 * mx * my + C1) * (2 * cov + C2) / ((mx**2 + my**2 + C1) * (vx + vy + C2))
    return float(found.mean())


def _mean(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean in every window that lies within the image."""
    half = WINDOW // 2
    whole = ndimage.gaussian_filter(x, SIGMA, radius=half)
    return np.asarray(whole[half:-half, half:-half])


def _pair(a: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 2:
        raise ValueError(f"two images of one shape (height, width) are needed, not {x.shape} and {y.shape}")
    return x, y
