# SPDX-License-Identifier: Apache-2.0
"""One folder a kernel: the Triton kernel and its plain PyTorch reference."""
