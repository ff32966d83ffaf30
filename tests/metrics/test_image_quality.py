"""PSNR and SSIM of known pairs, and SSIM against its definition written out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zobench.metrics.image_quality import psnr, rmse, ssim


def test_psnr_and_rmse_of_constant_images() -> None:
    a, b = np.full((12, 12), 0.5), np.full((12, 12), 0.6)
    assert rmse(a, b) == pytest.approx(0.1)
    assert psnr(a, b) == pytest.approx(20.0)
    assert psnr(a, a) == math.inf
    # Of the luminance term alone remains (2 m_a m_b + C1) / (m_a^2 + m_b^2 + C1).
    assert ssim(a, b) == pytest.approx((2 * 0.3 + 1e-4) / (0.25 + 0.36 + 1e-4))
    assert ssim(a, a) == pytest.approx(1.0)


def test_ssim_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    a = rng.random((13, 14))
    b = np.clip(a + 0.2 * rng.standard_normal(a.shape), 0, 1)
    offsets = np.arange(-5, 6)
    one = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(one, one) / one.sum() ** 2
    values = []
    for row in range(3):
        for column in range(4):
            x, y = (i[row : row + 11, column : column + 11] for i in (a, b))
            mx, my = (weights * x).sum(), (weights * y).sum()
            vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
            cov = (weights * (x - mx) * (y - my)).sum()
            top = (2 * mx * my + 1e-4) * (2 * cov + 9e-4)
            values.append(top / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4)))
    assert ssim(a, b) == pytest.approx(np.mean(values))
    assert ssim(a, b) == pytest.approx(ssim(b, a))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        psnr(np.zeros((4, 4)), np.zeros((4, 5)))
    with pytest.raises(ValueError, match="at least 11"):
        ssim(np.zeros((8, 8)), np.zeros((8, 8)))
