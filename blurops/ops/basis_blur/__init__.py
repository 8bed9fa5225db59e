# SPDX-License-Identifier: BSD-3-Clause
"""The basis-mixed blur ``H x = sum_b m_b * (k_b conv x)``, its adjoint and its gradients."""
