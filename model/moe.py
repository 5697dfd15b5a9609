# SPDX-License-Identifier: Apache-2.0
"""Placeholder."""
from torch import nn
class MixtureOfExperts(nn.Module):
    pass
