# SPDX-License-Identifier: BSD-3-Clause
"""One folder per op family: ``op.py`` declares it, the modules beside it are its backends."""
