# SPDX-License-Identifier: BSD-3-Clause
"""The authors' update, transcribed from its description, independently of the package."""

import torch
import torch.nn.functional as F


def authors_blur(image, kernels, mixing):
    radius = kernels.shape[-1] // 2
    padded = F.pad(image, (radius,) * 4, mode="reflect")
    result = torch.zeros_like(image)
    for channel in range(image.shape[1]):
        for basis in range(kernels.shape[1]):
            plane = F.conv2d(padded[:, channel : channel + 1], kernels[:, basis : basis + 1])
            result[:, channel] += mixing[:, basis] * plane[:, 0]
    return result


def authors_response(light):
    light = light.clamp(max=1.5)
    power = torch.exp(50 * (light - 1))
    return (light - torch.log(1 + power) / 50).clamp(min=0), 1 / (1 + power)


def authors_each_channel(image, kernel):
    planes = [F.conv2d(image[:, c : c + 1], kernel, padding="same") for c in range(image.shape[1])]
    return torch.cat(planes, dim=1)


def authors_divergence(values):
    across = torch.tensor([[[[1.0, 0, -1], [2, 0, -2], [1, 0, -1]]]], dtype=values.dtype)
    down = across.transpose(-1, -2)
    gx, gy = authors_each_channel(values, across), authors_each_channel(values, down)
    norm = torch.sqrt(gx**2 + gy**2)
    flat = norm < 1e-9
    gx = torch.where(flat, torch.full_like(gx, 1e-9), gx / norm)
    gy = torch.where(flat, torch.full_like(gy, 1e-9), gy / norm)
    return authors_each_channel(gx, across) + authors_each_channel(gy, down)


def authors_sets(values, kernels, threshold, erode, smooth, dilate):
    ones = torch.ones(1, 1, 3, 3, dtype=values.dtype)
    z0 = (values < threshold).to(values.dtype)
    if erode:
        z0 = 1 - (authors_each_channel(1 - z0, ones) > 0).to(values.dtype)
    if smooth:
        z0 = authors_each_channel(z0, ones) / 9
    z = z0
    if dilate:
        total = kernels.sum(1, keepdim=True)
        support = (total > 0.25 * total.max()).to(values.dtype)
        lost = (z0 < 1).to(values.dtype)
        z = 1 - (authors_each_channel(lost, support) > 0).to(values.dtype)
    return z0, z


def authors_restore(
    v, blur, *, gamma, iterations=30, variant="combined", threshold=0.99, tv=1e-3,
    erode=True, smooth=True, dilate=False, stop=True, apply=authors_blur,
):  # fmt: skip
    """Specification of the released code: 5.1 to 5.4 of its description. Returns (u, updates)."""
    kernels, mixing, turned = blur.kernels, blur.mixing, blur.kernels.flip(-1, -2)
    light, u, previous = v**gamma, v.clone(), 1000.0
    for done in range(iterations):
        current = u**gamma
        blurred = apply(current, kernels, mixing)
        response, slope = authors_response(blurred)
        if variant == "combined":
            z0, z = authors_sets(u, kernels, threshold, erode, smooth, dilate)
            q_u = light * slope * z / (response + 1e-6) + 1 - slope * z
            q_s = light * slope / (response + 1e-6) + 1 - slope
            f_u = z0 * u
            f_s = u - f_u
            f_u = (f_u**gamma * apply(q_u, turned, mixing)) ** (1 / gamma)
            f_s = (f_s**gamma * apply(q_s, turned, mixing)) ** (1 / gamma)
            new = f_u + f_s
        else:
            q = light / (blurred + 1e-6)
            if variant == "function":
                q = light * slope / (response + 1e-6) + 1 - slope
            if variant == "masked":
                t = (v < threshold).to(v.dtype)
                q = light * t / (blurred + 1e-6) + 1 - t
            new = (current * apply(q, turned, mixing)) ** (1 / gamma)
        new = new / (1 - tv * authors_divergence(u))
        if variant == "combined" and stop:
            loss = float(((blurred.clamp(max=1.5) ** (1 / gamma) - v) ** 2).mean())
            if previous - loss < 1e-6:
                return u, done
            previous = loss
        u = new
    return u, iterations
