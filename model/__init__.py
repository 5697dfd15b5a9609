# SPDX-License-Identifier: Apache-2.0
"""The interaction model: front ends, transformer, flow head, session, training and evaluation."""
